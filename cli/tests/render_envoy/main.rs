//! Output of `sallyport render`, in a real Envoy.

mod filters;
mod fixture;
mod fleet;
mod places;
mod watch;
