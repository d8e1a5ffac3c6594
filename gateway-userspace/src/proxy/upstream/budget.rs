//! How many requests may be sent a second time: a share of all, so that an outage is not made worse by repeating. Pure.

/// A request earns a fifth of a retry …
const SHARE: u32 = 1;
/// … and a retry costs a whole one.
const COST: u32 = 5;
/// Retries that may be saved up.
const SAVED: u32 = 100;

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget(u32);

impl Default for Budget {
    fn default() -> Self {
        Self(SAVED * COST)
    }
}

impl Budget {
    /// After one more request.
    #[must_use]
    pub(super) fn earn(self) -> Self {
        Self((self.0 + SHARE).min(SAVED * COST))
    }

    /// After one retry, if that is still allowed.
    pub(super) fn spend(self) -> Option<Self> {
        self.0.checked_sub(COST).map(Self)
    }

    /// As a number.
    pub(super) fn to_bits(self) -> u32 {
        self.0
    }

    /// Of [`Self::to_bits`].
    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_may_be_repeated_and_a_hundred_more() {
        let (mut budget, mut retries) = (Budget::default(), 0);
        for _ in 0..1_000 {
            budget = budget.earn();
            if let Some(left) = budget.spend() {
                (budget, retries) = (left, retries + 1);
            }
        }
        assert!((299..=301).contains(&retries), "{retries}");
    }

    #[test]
    fn no_more_is_saved_than_a_hundred() {
        let mut budget = Budget::default();
        for _ in 0..1_000_000 {
            budget = budget.earn();
        }
        assert_eq!(std::iter::successors(budget.spend(), |left| left.spend()).count(), 100);
    }
}
