//! The module's linear memory, as a host call sees it.

use wasmtime::{Caller, Extern, Memory, TypedFunc};

use super::state::{State, Status};

/// The calling module during one host call.
pub(super) struct Guest<'c, 's> {
    caller: &'c mut Caller<'s, State>,
    memory: Memory,
}

impl<'c, 's> Guest<'c, 's> {
    /// Fails if the module exports no memory.
    pub(super) fn new(caller: &'c mut Caller<'s, State>) -> Result<Self, Status> {
        match caller.get_export("memory") {
            Some(Extern::Memory(memory)) => Ok(Self { caller, memory }),
            _ => Err(Status::InvalidMemoryAccess),
        }
    }

    pub(super) fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    pub(super) fn read(&self, address: u32, length: u32) -> Result<Vec<u8>, Status> {
        let start = usize::try_from(address).map_err(|_| Status::InvalidMemoryAccess)?;
        let length = usize::try_from(length).map_err(|_| Status::InvalidMemoryAccess)?;
        let end = start.checked_add(length).ok_or(Status::InvalidMemoryAccess)?;
        self.memory.data(&self.caller).get(start..end).map(<[u8]>::to_vec).ok_or(Status::InvalidMemoryAccess)
    }

    pub(super) fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Status> {
        let address = usize::try_from(address).map_err(|_| Status::InvalidMemoryAccess)?;
        self.memory.write(&mut self.caller, address, bytes).map_err(|_| Status::InvalidMemoryAccess)
    }

    pub(super) fn write_u32(&mut self, address: u32, value: u32) -> Result<(), Status> {
        self.write(address, &value.to_le_bytes())
    }

    /// Returns bytes to the module: allocates memory in it, copies them there, and writes pointer and length to the two
    /// addresses that it passed.
    pub(super) fn return_bytes(&mut self, bytes: &[u8], pointer_out: u32, length_out: u32) -> Result<(), Status> {
        let injected = self.state().answer.take();
        let bytes = injected.as_deref().unwrap_or(bytes);
        let length = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        let pointer = match length {
            0 => 0,
            length => {
                let allocate = self.allocator()?;
                allocate.call(&mut self.caller, length).map_err(|_| Status::InvalidMemoryAccess)?
            }
        };
        self.write(pointer, bytes)?;
        self.write_u32(pointer_out, pointer)?;
        self.write_u32(length_out, length)
    }

    /// The Rust SDK exports `malloc` for wasm32-unknown-unknown, other modules the name of the specification.
    fn allocator(&mut self) -> Result<TypedFunc<u32, u32>, Status> {
        for name in ["proxy_on_memory_allocate", "malloc"] {
            if let Some(Extern::Func(function)) = self.caller.get_export(name) {
                return function.typed(&self.caller).map_err(|_| Status::InvalidMemoryAccess);
            }
        }
        Err(Status::InvalidMemoryAccess)
    }
}
