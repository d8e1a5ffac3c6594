//! Huffman's code of strings (RFC 7541, section 5.2). It is canonical, codes in the order of their lengths and then of their symbols,
//! so that the lengths say all of it.

/// Bits of each byte's code, and of the end of a string, which is never sent (appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

const LONGEST: usize = 30;
/// Codes of up to so many bits are found at once: those of letters, digits and what is common between them.
const SHORT: u32 = 8;

static CODE: Code = Code::new();

struct Code {
    /// Symbol and length by the first bits; a length of 0: the code is longer.
    short: [(u8, u8); 1 << SHORT],
    /// By length: its first code, how many it has, and where their symbols begin.
    lengths: [(u32, u32, usize); LONGEST + 1],
    symbols: [u16; LENGTHS.len()],
}

impl Code {
    const fn new() -> Self {
        let mut code = Self {
            short: [(0, 0); 1 << SHORT],
            lengths: [(0, 0, 0); LONGEST + 1],
            symbols: [0; LENGTHS.len()],
        };
        let (mut next, mut found, mut length) = (0, 0, 1);
        while length <= LONGEST {
            next <<= 1;
            let (first, begin) = (next, found);
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[found] = symbol as u16;
                    let mut rest = 0;
                    while length as u32 <= SHORT && rest < 1 << (SHORT - length as u32) {
                        code.short[(next << (SHORT - length as u32) | rest) as usize] =
                            (symbol as u8, length as u8);
                        rest += 1;
                    }
                    found += 1;
                    next += 1;
                }
                symbol += 1;
            }
            code.lengths[length] = (first, next - first, begin);
            length += 1;
        }
        code
    }

    /// The symbol that these bits, the first one highest, begin with, and its length.
    fn first(&self, bits: u32) -> Option<(u16, u32)> {
        let (symbol, length) = self.short[(bits >> (32 - SHORT)) as usize];
        if length > 0 {
            return Some((symbol.into(), length.into()));
        }
        (SHORT as usize + 1..=LONGEST).find_map(|length| {
            let (first, count, begin) = self.lengths[length];
            let place = (bits >> (32 - length)).wrapping_sub(first);
            (place < count).then(|| (self.symbols[begin + place as usize], length as u32))
        })
    }
}

/// Appends the string that `bytes` are the code of. None: they are not.
pub(super) fn decode(bytes: &[u8], string: &mut Vec<u8>) -> Option<()> {
    let mut rest = bytes.iter();
    // The next bits, the first one highest, and how many there are.
    let (mut bits, mut held) = (0_u64, 0_u32);
    loop {
        while held <= 56
            && let Some(byte) = rest.next()
        {
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        let (symbol, length) = CODE.first((bits >> 32) as u32)?;
        if length > held {
            break;
        }
        string.push(u8::try_from(symbol).ok()?);
        bits <<= length;
        held -= length;
    }
    // Padding is the beginning of the longest code, which is all ones, and less than a byte.
    (held < 8 && bits.count_ones() == held).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit, by the definition.
    fn encode(string: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for byte in string {
            let length = LENGTHS[usize::from(*byte)];
            let before = (0..LENGTHS.len())
                .filter(|other| (LENGTHS[*other], *other) < (length, usize::from(*byte)))
                .map(|other| 1_u64 << (32 - LENGTHS[other]))
                .sum::<u64>();
            bits += &format!("{:0width$b}", before >> (32 - length), width = usize::from(length));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes()
            .chunks(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect()
    }

    fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut string = Vec::new();
        decode(bytes, &mut string).map(|()| string)
    }

    #[test]
    fn rfc7541_appendix_c() {
        for (string, code) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("private", "aec3771a4b"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
            ("", ""),
        ] {
            let bytes: Vec<u8> = (0..code.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&code[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(encode(string.as_bytes()), bytes, "{string}");
            assert_eq!(decoded(&bytes).unwrap(), string.as_bytes());
        }
    }

    #[test]
    fn every_code_is_there_and_they_leave_no_gap() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encode(&all)).unwrap(), all);
        assert_eq!(LENGTHS.iter().map(|length| 1_u64 << (32 - length)).sum::<u64>(), 1 << 32);
    }

    #[test]
    fn what_is_no_string() {
        // Padding of zeros, of a byte, of more; the end of strings within one.
        for wrong in
            [&[0x18_u8][..], &[0xff], &[0x1f, 0xff], &[0xff, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xfc]]
        {
            assert_eq!(decoded(wrong), None, "{wrong:x?}");
        }
    }

    proptest! {
        #[test]
        fn strings_come_back(string in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decoded(&encode(&string)).unwrap(), string);
        }

        /// There is one code of each string.
        #[test]
        fn what_is_decoded_is_encoded_again(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(string) = decoded(&bytes) {
                prop_assert_eq!(encode(&string), bytes);
            }
        }
    }
}
