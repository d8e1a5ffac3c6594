//! What the kernel object must be free of, though the verifier would take it: what costs time on every packet, and panics.

use std::fmt;

use anyhow::{Context, Result};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind, SymbolKind,
    read::{File, Section, Symbol},
};

/// Where the compiler's own helpers are; each other section with code is a program.
const HELPERS: &str = ".text";
/// Helpers that move or compare memory byte by byte, since BPF has no instruction for it.
const MEMORY: [&str; 5] = ["memcpy", "memmove", "memset", "memcmp", "bcmp"];
/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_CALL`, in the upper half of the register byte: a function of the object. With 0 there a call is the kernel's.
const OF_THE_OBJECT: u8 = 1;
/// Of an instruction.
const SIZE: usize = 8;

/// Something that must not be in the object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The name of a function or section.
    Panic(String),
    /// Where, and what is called.
    Memory(Place, String),
    /// A call that names nothing.
    Unresolved(Place),
}

/// An instruction: the section's name, and the offset in it in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place(String, u64);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(section, offset) = self;
        write!(f, "{section}+{offset:#x}")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(name) => write!(
                f,
                "`{name}` is in it: something can panic, and a panic that can be reached does not load. Look for slice indexing, \
                 division and unwrap"
            ),
            Self::Memory(place, callee) => write!(
                f,
                "{place} calls {callee}: a struct with an array is moved through the stack, some 10 ns a packet. Make its fields scalars"
            ),
            Self::Unresolved(place) => {
                write!(f, "{place} calls a function that is not in the object, and so it cannot be loaded")
            }
        }
    }
}

/// All faults of an object, an ELF file.
///
/// # Errors
/// It cannot be read.
pub(super) fn faults(elf: &[u8]) -> Result<Vec<Fault>> {
    let file = File::parse(elf).context("the kernel object is no ELF file")?;
    let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let code = || file.sections().filter(|section| section.kind() == SectionKind::Text);
    let functions = functions.filter_map(|symbol| Some(symbol.name().ok()?.to_owned()));
    let names = functions.chain(code().filter_map(|section| Some(section.name().ok()?.to_owned())));
    let mut faults: Vec<Fault> = names.filter(|name| name.contains("panic")).map(Fault::Panic).collect();
    for program in code().filter(|section| section.name() != Ok(HELPERS)) {
        faults.extend(calls(&file, &program)?);
    }
    Ok(faults)
}

fn calls(file: &File<'_>, program: &Section<'_, '_>) -> Result<Vec<Fault>> {
    let name = program.name()?;
    let mut faults = Vec::new();
    for (offset, instruction) in (0..).step_by(SIZE).zip(program.data()?.chunks_exact(SIZE)) {
        let &[CALL, registers, _, _, i0, i1, i2, i3] = instruction else { continue };
        if registers >> 4 != OF_THE_OBJECT {
            continue;
        }
        let immediate = i32::from_le_bytes([i0, i1, i2, i3]);
        let place = Place(name.to_owned(), offset);
        let named =
            program.relocations().find(|(at, _)| *at == offset).map(|(_, relocation)| relocation.target());
        match named {
            Some(RelocationTarget::Symbol(index)) => {
                let symbol = file.symbol_by_index(index)?;
                match callee(file, &symbol, immediate) {
                    Some(callee) if MEMORY.contains(&callee) => {
                        faults.push(Fault::Memory(place, callee.to_owned()));
                    }
                    Some(_) => {}
                    None => faults.push(Fault::Unresolved(place)),
                }
            }
            // The linker has resolved it, to a function of the same section; -1 is what it leaves where it has not.
            _ if immediate != -1 => {}
            _ => faults.push(Fault::Unresolved(place)),
        }
    }
    Ok(faults)
}

/// The function that a relocation names: by itself, or, if it is local, by its section and the instructions from there on, less one.
fn callee<'d>(file: &File<'d>, symbol: &Symbol<'d, '_>, immediate: i32) -> Option<&'d str> {
    let section = symbol.section_index()?;
    if symbol.kind() != SymbolKind::Section {
        return symbol.name().ok();
    }
    let address = u64::try_from(i64::from(immediate) + 1).ok()? * SIZE as u64;
    let is_it = |function: &Symbol<'_, '_>| {
        function.section_index() == Some(section) && function.address() == address
    };
    let mut functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    functions.find(is_it)?.name().ok()
}

#[cfg(test)]
mod tests {
    use object::{
        Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolScope, elf,
        write::{self, Relocation, SectionId, SymbolId, SymbolSection},
    };

    use super::*;

    /// `call`, of a helper of the kernel and of a function of the object.
    const HELPER: [u8; 8] = [CALL, 0, 0, 0, 1, 0, 0, 0];
    const FUNCTION: [u8; 8] = [CALL, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff];
    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    struct Elf {
        file: write::Object<'static>,
        text: SectionId,
    }

    impl Elf {
        fn new() -> Self {
            let mut file = write::Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
            let text = file.add_section(Vec::new(), HELPERS.into(), SectionKind::Text);
            Self { file, text }
        }

        fn function(&mut self, name: &str) -> SymbolId {
            let value = self.file.append_section_data(self.text, &EXIT, 8);
            self.symbol(name, value, SymbolSection::Section(self.text))
        }

        fn symbol(&mut self, name: &str, value: u64, section: SymbolSection) -> SymbolId {
            self.file.add_symbol(write::Symbol {
                name: name.into(),
                value,
                size: 8,
                kind: SymbolKind::Text,
                scope: SymbolScope::Linkage,
                weak: false,
                section,
                flags: SymbolFlags::None,
            })
        }

        /// A program that calls a helper of the kernel, then what `symbol` names.
        fn program(mut self, call: [u8; 8], symbol: Option<SymbolId>) -> Vec<Fault> {
            let xdp = self.file.add_section(Vec::new(), b"xdp".to_vec(), SectionKind::Text);
            self.file.append_section_data(xdp, &[HELPER, call, EXIT].concat(), 8);
            if let Some(symbol) = symbol {
                let flags = RelocationFlags::Elf { r_type: elf::R_BPF_64_32 };
                let relocation = Relocation { offset: 8, symbol, addend: 0, flags };
                self.file.add_relocation(xdp, relocation).unwrap();
            }
            faults(&self.file.write().unwrap()).unwrap()
        }
    }

    fn place() -> Place {
        Place("xdp".into(), 8)
    }

    #[test]
    fn a_call_of_memcpy_is_found_by_its_name_and_by_its_place() {
        let mut elf = Elf::new();
        elf.function("other");
        let memcpy = elf.function("memcpy");
        assert_eq!(elf.program(FUNCTION, Some(memcpy)), [Fault::Memory(place(), "memcpy".into())]);

        let mut elf = Elf::new();
        elf.function("other");
        elf.function("memset");
        let section = elf.file.section_symbol(elf.text);
        let second = [CALL, 0x10, 0, 0, 0, 0, 0, 0];
        assert_eq!(elf.program(second, Some(section)), [Fault::Memory(place(), "memset".into())]);
    }

    #[test]
    fn helpers_of_the_kernel_and_functions_of_our_own_may_be_called() {
        let mut elf = Elf::new();
        elf.function("memcpy");
        let other = elf.function("other");
        assert_eq!(elf.program(FUNCTION, Some(other)), []);
    }

    #[test]
    fn a_call_of_nothing_is_found() {
        assert_eq!(Elf::new().program(FUNCTION, None), [Fault::Unresolved(place())]);
        let mut elf = Elf::new();
        let elsewhere = elf.symbol("elsewhere", 0, SymbolSection::Undefined);
        assert_eq!(elf.program(FUNCTION, Some(elsewhere)), [Fault::Unresolved(place())]);
    }

    #[test]
    fn a_panic_is_found() {
        let name = "_ZN4core9panicking18panic_bounds_check17h0123456789abcdefE";
        let mut elf = Elf::new();
        elf.function(name);
        assert_eq!(elf.program(HELPER, None), [Fault::Panic(name.into())]);
    }
}
