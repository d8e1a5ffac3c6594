//! Blocks of eight ports, and sets of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Ports of a block.
pub(super) const PORTS: u32 = 8;
/// Blocks of an address.
const COUNT: u32 = (1 << 16) / PORTS;
const WORDS: usize = (COUNT / u64::BITS) as usize;

/// A block: its first port divided by eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block(u16);

impl Block {
    /// The block of a port.
    pub const fn of(port: u16) -> Self {
        Self(port >> 3)
    }

    /// Its place in a table of all blocks.
    pub const fn index(self) -> u16 {
        self.0
    }

    /// At that place, if there is one.
    pub fn at(index: u32) -> Option<Self> {
        u16::try_from(index).ok().filter(|_| index < COUNT).map(Self)
    }
}

/// A set of blocks.
#[derive(Clone, PartialEq, Eq)]
pub struct Blocks(Box<[u64; WORDS]>);

impl Default for Blocks {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl Blocks {
    /// Whether it is in here.
    pub fn contains(&self, block: Block) -> bool {
        self.0[place(block)] & bit(block) != 0
    }

    /// Puts it in.
    pub fn insert(&mut self, block: Block) {
        self.0[place(block)] |= bit(block);
    }

    /// Takes it out.
    pub fn remove(&mut self, block: Block) {
        self.0[place(block)] &= !bit(block);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// What is in here or in `other`.
    pub fn or(&self, other: &Self) -> Self {
        self.with(other, |one, other| one | other)
    }

    /// What is in both.
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |one, other| one & other)
    }

    /// What is in here and not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        self.with(other, |one, other| one & !other)
    }

    fn with(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        let mut result = Self::default();
        for ((place, &one), &other) in result.0.iter_mut().zip(self.0.iter()).zip(other.0.iter()) {
            *place = of(one, other);
        }
        result
    }

    /// The lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Block> + '_ {
        let words = (0..COUNT as u16).step_by(u64::BITS as usize).zip(self.0.iter().copied());
        // Most words of most sets are empty.
        words.filter(|(_, word)| *word != 0).flat_map(|(first, word)| {
            (0..u64::BITS as u16).filter(move |bit| word >> bit & 1 != 0).map(move |bit| Block(first + bit))
        })
    }

    /// As ranges, both ends included.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for Block(block) in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == block => *last = block,
                _ => ranges.push((block, block)),
            }
        }
        ranges
    }
}

impl FromIterator<Block> for Blocks {
    fn from_iter<I: IntoIterator<Item = Block>>(all: I) -> Self {
        let mut set = Self::default();
        all.into_iter().for_each(|block| set.insert(block));
        set
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ranges().fmt(f)
    }
}

impl Serialize for Blocks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ranges().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut set = Self::default();
        for (first, last) in Vec::<(u16, u16)>::deserialize(deserializer)? {
            if first > last || u32::from(last) >= COUNT {
                return Err(D::Error::custom(format!("there is no range {first} to {last} of port blocks")));
            }
            (first..=last).for_each(|block| set.insert(Block(block)));
        }
        Ok(set)
    }
}

const fn place(block: Block) -> usize {
    (block.0 as u32 / u64::BITS) as usize
}

const fn bit(block: Block) -> u64 {
    1 << (block.0 as u32 % u64::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_goes_as_ranges_and_comes_back() {
        let set: Blocks = [128, 129, 130, 4000, 8191].into_iter().filter_map(Block::at).collect();
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(text, "[[128,130],[4000,4000],[8191,8191]]");
        assert_eq!(serde_json::from_str::<Blocks>(&text).unwrap(), set);
        for wrong in ["[[2,1]]", "[[0,8192]]", "[[1]]", "[[-1,2]]", "7"] {
            assert!(serde_json::from_str::<Blocks>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_belongs_to_one_block_of_eight() {
        assert_eq!(Block::of(1024), Block::of(1031));
        assert_ne!(Block::of(1031), Block::of(1032));
        assert_eq!((Block::of(u16::MAX).index(), Block::at(8191)), (8191, Some(Block::of(u16::MAX))));
        assert_eq!(Block::at(8192), None);
    }

    #[test]
    fn sets_are_joined_cut_and_told_apart() {
        let of = |list: &[u32]| list.iter().filter_map(|&block| Block::at(block)).collect::<Blocks>();
        let (one, other) = (of(&[1, 64, 70]), of(&[64, 8000]));
        assert_eq!(one.or(&other), of(&[1, 64, 70, 8000]));
        assert_eq!(one.and(&other), of(&[64]));
        assert_eq!(one.without(&other), of(&[1, 70]));
        assert_eq!((one.len(), of(&[]).is_empty(), one.is_empty()), (3, true, false));
    }
}
