//! Requests as this filter's policies see them.

use sallyport_policy::{AttributeError, HeaderValues, Request, RequestMemo};
use sallyport_runtime::{CurrentStream, Host};

/// A request of which only the port and the client's own assertions are known: no policy of this filter can name anything
/// else, so the module does not carry the code for it.
pub(crate) struct ClientRequest<'c, H>(pub(crate) CurrentStream<'c, H>);

impl<H: Host> Request for ClientRequest<'_, H> {
    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        self.0.destination_port()
    }

    fn memo(&mut self) -> Option<&mut RequestMemo> {
        self.0.memo()
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.0.method()
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.0.host()
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        self.0.path()
    }

    fn header(&mut self, name: &str) -> Result<HeaderValues<'_>, AttributeError> {
        self.0.header(name)
    }
}
