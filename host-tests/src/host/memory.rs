//! The module's linear memory, seen from a host call.

use wasmtime::{Caller, Extern, Memory, TypedFunc};

use super::state::{State, Status};

/// One host call's view of the module.
pub(super) struct Guest<'c, 's> {
    caller: &'c mut Caller<'s, State>,
    memory: Memory,
}

impl<'c, 's> Guest<'c, 's> {
    pub(super) fn of(caller: &'c mut Caller<'s, State>) -> Result<Self, Status> {
        match caller.get_export("memory") {
            Some(Extern::Memory(memory)) => Ok(Self { caller, memory }),
            _ => Err(Status::InvalidMemoryAccess),
        }
    }

    pub(super) fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    pub(super) fn read(&self, at: u32, length: u32) -> Result<Vec<u8>, Status> {
        let start = usize::try_from(at).map_err(|_| Status::InvalidMemoryAccess)?;
        let length = usize::try_from(length).map_err(|_| Status::InvalidMemoryAccess)?;
        let end = start.checked_add(length).ok_or(Status::InvalidMemoryAccess)?;
        self.memory.data(&self.caller).get(start..end).map(<[u8]>::to_vec).ok_or(Status::InvalidMemoryAccess)
    }

    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Status> {
        let at = usize::try_from(at).map_err(|_| Status::InvalidMemoryAccess)?;
        self.memory.write(&mut self.caller, at, bytes).map_err(|_| Status::InvalidMemoryAccess)
    }

    pub(super) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Status> {
        self.write(at, &value.to_le_bytes())
    }

    /// Gives bytes to the module: in memory of its own making, with pointer and length where it asked for them.
    pub(super) fn give(&mut self, bytes: &[u8], pointer_at: u32, length_at: u32) -> Result<(), Status> {
        let length = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        let pointer = match length {
            0 => 0,
            length => {
                let allocate = self.allocator()?;
                allocate.call(&mut self.caller, length).map_err(|_| Status::InvalidMemoryAccess)?
            }
        };
        self.write(pointer, bytes)?;
        self.write_u32(pointer_at, pointer)?;
        self.write_u32(length_at, length)
    }

    /// Modules for wasm32-unknown-unknown of the Rust SDK export `malloc`, others the name of the specification.
    fn allocator(&mut self) -> Result<TypedFunc<u32, u32>, Status> {
        for name in ["proxy_on_memory_allocate", "malloc"] {
            if let Some(Extern::Func(function)) = self.caller.get_export(name) {
                return function.typed(&self.caller).map_err(|_| Status::InvalidMemoryAccess);
            }
        }
        Err(Status::InvalidMemoryAccess)
    }
}
