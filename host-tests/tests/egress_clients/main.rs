//! Clients that people have, run against `envoy-config/egress.yaml`: each reaches a declared host and no other, and
//! prints what `docs/egress.md` says. They have to be installed: `apt-get install curl git openssl python3`; PyPy is
//! fetched once where it is not (`tools/find-pypy`).

mod curl;
mod fixture;
mod git;
mod local_proxy;
mod openssl;
mod python;
