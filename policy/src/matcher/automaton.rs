//! Many literals found in one pass over a text (Aho and Corasick, 1975).

use crate::collections::sort::sorted_indices;

/// Most cells of the table of next states; states beyond it are searched by their children.
const MAX_CELLS: usize = 1 << 16;

/// Mark of a state in the table at which a literal ends.
const ENDS: u32 = 1 << 31;

/// No literal.
pub(crate) const NONE: u32 = u32::MAX;

/// Bytes to look for, and whether they stand at the edge of a text or an element: its start, its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Literal {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) at_start: bool,
    pub(crate) at_end: bool,
}

impl Literal {
    /// The number of symbols.
    fn symbols(&self) -> usize {
        usize::from(self.at_start) + self.bytes.len() + usize::from(self.at_end)
    }

    /// Symbol `position`: 0 for an edge, above it the bytes.
    fn symbol(&self, position: usize) -> Option<u16> {
        match position.checked_sub(usize::from(self.at_start)) {
            None => Some(EDGE),
            Some(at) if at == self.bytes.len() => self.at_end.then_some(EDGE),
            Some(at) => self.bytes.get(at).map(|byte| u16::from(*byte) + 1),
        }
    }
}

const EDGE: u16 = 0;

/// The class of an edge; every byte has one above it.
const EDGE_CLASS: u16 = 0;

/// The literals of one index.
///
/// States are numbered breadth first, so the children of a state stand together, and a state fails to a lower one.
pub(crate) struct Automaton {
    /// The class of each byte. Bytes that are in no literal share one; a separator is an edge.
    classes: Box<[u16; 256]>,
    /// The byte between elements; none where the ends of the text are the edges.
    separator: Option<u8>,
    width: usize,
    /// The next state by state and class, for the first states: each as the position of its row.
    cells: Vec<u32>,
    states: Vec<State>,
    /// For each literal the longest other one that it ends with.
    suffixes: Vec<u32>,
}

struct State {
    /// The class by which it is entered.
    class: u16,
    first_child: u32,
    /// State of the longest proper suffix.
    failure: u32,
    /// The longest literal that ends here.
    literal: u32,
}

impl Automaton {
    /// Takes literals that differ, none of them empty or with the separator in it.
    pub(crate) fn new(literals: &[Literal], separator: Option<u8>) -> Self {
        let (mut classes, width) = classes(literals);
        if let Some(class) = separator.and_then(|separator| classes.get_mut(usize::from(separator))) {
            *class = EDGE_CLASS;
        }
        let suffixes = vec![NONE; literals.len()];
        let mut automaton = Self { classes, separator, width, cells: Vec::new(), states: Vec::new(), suffixes };
        automaton.add_states(literals);
        automaton.fill_table();
        automaton
    }

    pub(crate) fn separator(&self) -> Option<u8> {
        self.separator
    }

    /// The longest other literal that a literal ends with, or [`NONE`].
    pub(crate) fn suffix(&self, literal: u32) -> u32 {
        item(&self.suffixes, literal).copied().unwrap_or(NONE)
    }

    /// Calls `found` with the longest literal that ends at each place of `text` where one does, that place, and the start of
    /// the element that it ends, until it returns false.
    pub(crate) fn find(&self, text: &[u8], found: &mut dyn FnMut(u32, usize, usize) -> bool) {
        let mut row = 0;
        let mut start = 0;
        if self.separator.is_none() {
            let Some(first) = self.enter(row, EDGE_CLASS, 0, start, found) else { return };
            row = first;
        }
        let cells = self.cells.as_slice();
        for (at, byte) in text.iter().enumerate() {
            let class = self.class(*byte);
            let before = start;
            let mut end = at + 1;
            if class == EDGE_CLASS {
                // A literal that ends at an edge ends before the separator.
                (start, end) = (end, at);
            }
            // Most bytes take one look into the table.
            row = match usize::try_from(row).ok().and_then(|row| cells.get(row + usize::from(class))) {
                Some(next) if next & ENDS == 0 => *next,
                Some(next) => {
                    let row = next & !ENDS;
                    if !self.report(row / number(self.width), end, before, found) {
                        return;
                    }
                    row
                }
                None => match self.enter(row, class, end, before, found) {
                    Some(row) => row,
                    None => return,
                },
            };
        }
        if self.separator.is_none() {
            self.enter(row, EDGE_CLASS, text.len(), start, found);
        }
    }

    /// The row after `class`; calls `found` if a literal ends there. `None` if that returns false.
    #[inline(never)]
    fn enter(
        &self,
        row: u32,
        class: u16,
        end: usize,
        start: usize,
        found: &mut dyn FnMut(u32, usize, usize) -> bool,
    ) -> Option<u32> {
        let width = number(self.width);
        let state = self.next(row / width, class);
        self.report(state, end, start, found).then_some(state * width)
    }

    /// Calls `found` if a literal ends at a state. False if that returns it.
    #[inline(always)]
    fn report(&self, state: u32, end: usize, start: usize, found: &mut dyn FnMut(u32, usize, usize) -> bool) -> bool {
        match self.literal(state) {
            NONE => true,
            literal => found(literal, end, start),
        }
    }

    #[inline(always)]
    fn class(&self, byte: u8) -> u16 {
        self.classes.get(usize::from(byte)).copied().unwrap_or_default()
    }

    fn literal(&self, state: u32) -> u32 {
        self.state(state).map_or(NONE, |state| state.literal)
    }

    fn state(&self, state: u32) -> Option<&State> {
        item(&self.states, state)
    }

    /// The state after `class`.
    fn next(&self, mut state: u32, class: u16) -> u32 {
        loop {
            let cell = index(state).and_then(|state| self.cells.get(state * self.width + usize::from(class)));
            if let Some(row) = cell {
                return (row & !ENDS) / number(self.width);
            }
            if let Some(child) = self.child(state, class) {
                return child;
            }
            match self.state(state) {
                Some(of) if state != 0 => state = of.failure,
                _ => return 0,
            }
        }
    }

    fn child(&self, state: u32, class: u16) -> Option<u32> {
        let first = self.state(state)?.first_child;
        let end = self.state(state + 1).map_or_else(|| number(self.states.len()), |next| next.first_child);
        let children = index(first).zip(index(end)).and_then(|(first, end)| self.states.get(first..end))?;
        let position = children.iter().position(|child| child.class == class)?;
        Some(first + number(position))
    }

    /// A state in the table.
    fn cell(&self, state: u32) -> u32 {
        let row = state * number(self.width);
        if self.literal(state) == NONE { row } else { row | ENDS }
    }

    /// Adds the states of the literals, level by level: each stands for a range of the sorted literals.
    fn add_states(&mut self, literals: &[Literal]) {
        let symbol = |literal: usize, position| literals.get(literal).and_then(|literal| literal.symbol(position));
        let order = sorted_indices(literals.len(), &|one, other| {
            let symbols = |literal: usize| (0..).map_while(move |position| symbol(literal, position));
            symbols(one).cmp(symbols(other))
        });
        // Growing step by step would take three times the memory, which a VM never gives back.
        let shared = order.iter().zip(order.iter().skip(1)).map(|(one, other)| {
            let common =
                |position: &usize| symbol(*one, *position).is_some_and(|of| symbol(*other, *position) == Some(of));
            (0..).take_while(common).count()
        });
        let lengths = order.iter().map(|literal| literals.get(*literal).map_or(0, Literal::symbols));
        let states = 1 + lengths.sum::<usize>() - shared.sum::<usize>();
        // Configurations that differ a little take blocks of one size, which fit where the one before was.
        self.states.reserve_exact(states.next_multiple_of((states / 16).next_power_of_two()));
        self.states.push(State { class: EDGE_CLASS, first_child: 0, failure: 0, literal: NONE });
        let mut level = vec![(0, order.len())];
        let mut at = 0;
        for depth in 0.. {
            let mut next_level = Vec::with_capacity(level.len());
            for (mut start, end) in level {
                let state = number(at);
                let first_child = number(self.states.len());
                let Some(of) = self.states.get_mut(at) else { return };
                of.first_child = first_child;
                let failure = of.failure;
                let symbol_at = |position: usize| order.get(position).and_then(|literal| symbol(*literal, depth));
                // The literal that ends here is the first of its range.
                start += usize::from(start < end && symbol_at(start).is_none());
                while start < end {
                    let Some(wanted) = symbol_at(start) else { return };
                    let behind = (start..end).find(|position| symbol_at(*position) != Some(wanted)).unwrap_or(end);
                    let class = self.class_of(wanted);
                    let failure = if state == 0 { 0 } else { self.next(failure, class) };
                    let own = order.get(start).filter(|literal| symbol(**literal, depth + 1).is_none()).copied();
                    let inherited = self.literal(failure);
                    if let Some(suffix) = own.and_then(|own| self.suffixes.get_mut(own)) {
                        *suffix = inherited;
                    }
                    let literal = own.map_or(inherited, number);
                    self.states.push(State { class, first_child: 0, failure, literal });
                    next_level.push((start, behind));
                    start = behind;
                }
                at += 1;
            }
            if next_level.is_empty() {
                return;
            }
            level = next_level;
        }
    }

    fn class_of(&self, symbol: u16) -> u16 {
        match symbol.checked_sub(1).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => self.class(byte),
            None => EDGE_CLASS,
        }
    }

    /// Fills the table, in which a state has the row of the one that it fails to, and its children.
    fn fill_table(&mut self) {
        let rows = (MAX_CELLS / self.width.max(1)).min(self.states.len());
        let mut cells: Vec<u32> = Vec::with_capacity(rows * self.width);
        for at in 0..rows {
            let Some(state) = self.states.get(at) else { break };
            let failure = index(state.failure).unwrap_or_default() * self.width;
            match at {
                0 => cells.resize(self.width, 0),
                _ => cells.extend_from_within(failure..failure + self.width),
            }
            let first = state.first_child;
            let end = self.states.get(at + 1).map_or_else(|| number(self.states.len()), |next| next.first_child);
            for child in first..end {
                let class = self.state(child).map_or(EDGE_CLASS, |child| child.class);
                if let Some(cell) = cells.get_mut(at * self.width + usize::from(class)) {
                    *cell = self.cell(child);
                }
            }
        }
        self.cells = cells;
    }
}

/// Gives each byte of the literals a class of its own; returns how many classes there are.
fn classes(literals: &[Literal]) -> (Box<[u16; 256]>, usize) {
    let mut is_used = [false; 256];
    for byte in literals.iter().flat_map(|literal| &literal.bytes) {
        if let Some(is_used) = is_used.get_mut(usize::from(*byte)) {
            *is_used = true;
        }
    }
    // The class of what is in no literal.
    let mut width = EDGE_CLASS + 2;
    let classes = is_used.map(|is_used| match is_used {
        true => {
            width += 1;
            width - 1
        }
        false => EDGE_CLASS + 1,
    });
    (Box::new(classes), usize::from(width))
}

pub(crate) fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

/// The item that has a number.
#[inline(always)]
pub(crate) fn item<T>(items: &[T], number: u32) -> Option<&T> {
    match usize::try_from(number) {
        Ok(index) => items.get(index),
        Err(_) => None,
    }
}

/// The same, to change it.
#[inline(always)]
pub(crate) fn item_mut<T>(items: &mut [T], number: u32) -> Option<&mut T> {
    match usize::try_from(number) {
        Ok(index) => items.get_mut(index),
        Err(_) => None,
    }
}

pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}
