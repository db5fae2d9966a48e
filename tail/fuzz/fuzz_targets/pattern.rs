//! Any bytes are a pattern, and any other bytes a name: both are read without a panic, and in time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_tail::pattern::Pattern;
use pillion_tail::rotation::origins;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (pattern, name) = input;
    let parsed = Pattern::parse(&pattern);
    assert_eq!(parsed.means(&name), Pattern::parse(&parsed.text()).means(&name));
    for origin in origins(&name) {
        assert!(!origin.name.is_empty() && origin.name.len() < name.len());
    }
});
