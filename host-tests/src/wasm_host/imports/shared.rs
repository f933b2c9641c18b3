//! Host functions on data and queues that VMs share. The host has one VM.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Result;
use wasmtime::Linker;

use super::{CallResult, host_function, record};
use crate::wasm_host::guest::Guest;
use crate::wasm_host::state::{State, Status};

pub(super) fn define(linker: &mut Linker<State>) -> Result<()> {
    host_function!(
        linker,
        "proxy_get_shared_data",
        |guest, key: u32, key_length: u32, pointer_out: u32, length_out: u32, version_out: u32| {
            get_data(guest, [key, key_length], [pointer_out, length_out], version_out)
        }
    );
    host_function!(
        linker,
        "proxy_set_shared_data",
        |guest, key: u32, key_length: u32, value: u32, length: u32, version: u32| {
            set_data(guest, [key, key_length], [value, length], version)
        }
    );
    host_function!(linker, "proxy_register_shared_queue", |guest, name: u32, length: u32, id_out: u32| {
        let name = guest.read(name, length)?;
        record(guest, "proxy_register_shared_queue", &name)?;
        let id = guest.state().shared.register(name)?;
        Ok(guest.write_u32(id_out, id)?)
    });
    host_function!(
        linker,
        "proxy_resolve_shared_queue",
        |guest, vm_id: u32, vm_id_length: u32, name: u32, length: u32, id_out: u32| {
            let (vm_id, name) = (guest.read(vm_id, vm_id_length)?, guest.read(name, length)?);
            record(guest, "proxy_resolve_shared_queue", &name)?;
            let id = guest.state().shared.queue_id(&name).filter(|_| vm_id == VM_ID).ok_or(Status::NotFound)?;
            Ok(guest.write_u32(id_out, id)?)
        }
    );
    host_function!(linker, "proxy_enqueue_shared_queue", |guest, id: u32, data: u32, length: u32| {
        record(guest, "proxy_enqueue_shared_queue", b"")?;
        let data = guest.read(data, length)?;
        guest.state().shared.queue(id)?.push_back(data);
        Ok(())
    });
    host_function!(linker, "proxy_dequeue_shared_queue", |guest, id: u32, pointer_out: u32, length_out: u32| {
        record(guest, "proxy_dequeue_shared_queue", b"")?;
        let data = guest.state().shared.queue(id)?.pop_front().ok_or(Status::Empty)?;
        Ok(guest.return_bytes(&data, pointer_out, length_out)?)
    });
    Ok(())
}

/// The `vm_id` of the host's VM.
const VM_ID: &[u8] = b"vm";

/// Data and queues of a VM.
#[derive(Debug, Default)]
pub(in crate::wasm_host) struct Shared {
    /// Keys with their values and versions.
    data: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    /// The number of versions so far.
    versions: u32,
    queues: Vec<(Vec<u8>, VecDeque<Vec<u8>>)>,
}

impl Shared {
    /// Returns the ID of a queue, which it adds if there is none.
    fn register(&mut self, name: Vec<u8>) -> Result<u32, Status> {
        if self.queue_id(&name).is_none() {
            self.queues.push((name, VecDeque::new()));
        }
        u32::try_from(self.queues.len()).map_err(|_| Status::InternalFailure)
    }

    fn queue_id(&self, name: &[u8]) -> Option<u32> {
        let index = self.queues.iter().position(|(known, _)| known == name)?;
        u32::try_from(index + 1).ok()
    }

    fn queue(&mut self, id: u32) -> Result<&mut VecDeque<Vec<u8>>, Status> {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1)).ok_or(Status::NotFound)?;
        self.queues.get_mut(index).map(|(_, queue)| queue).ok_or(Status::NotFound)
    }
}

fn get_data(
    guest: &mut Guest<'_, '_>,
    [key, key_length]: [u32; 2],
    [pointer_out, length_out]: [u32; 2],
    version_out: u32,
) -> CallResult {
    let key = guest.read(key, key_length)?;
    record(guest, "proxy_get_shared_data", &key)?;
    let (value, version) = guest.state().shared.data.get(&key).cloned().ok_or(Status::NotFound)?;
    guest.return_bytes(&value, pointer_out, length_out)?;
    Ok(guest.write_u32(version_out, version)?)
}

/// Sets data; version 0 is any.
fn set_data(
    guest: &mut Guest<'_, '_>,
    [key, key_length]: [u32; 2],
    [value, length]: [u32; 2],
    version: u32,
) -> CallResult {
    let key = guest.read(key, key_length)?;
    record(guest, "proxy_set_shared_data", &key)?;
    let value = guest.read(value, length)?;
    let shared = &mut guest.state().shared;
    if shared.data.get(&key).is_some_and(|(_, current)| version != 0 && version != *current) {
        return Err(Status::CasMismatch.into());
    }
    shared.versions += 1;
    shared.data.insert(key, (value, shared.versions));
    Ok(())
}
