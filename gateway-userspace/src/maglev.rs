//! The Maglev ring (Eisenbud et al., NSDI 2016, section 3.4). Pure.
