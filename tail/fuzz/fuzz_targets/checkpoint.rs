//! Any bytes are a checkpoint or none; what is read of one is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_tail::checkpoint::{Record, State};

fuzz_target!(|content: &[u8]| {
    let Ok(state) = State::parse(content) else { return };
    let mut text = b"pillion-tail checkpoint 1\n".to_vec();
    for (&id, position) in &state.files {
        Record::File(id, position.clone()).write(&mut text);
    }
    for (&id, &known) in &state.known {
        Record::Known(id, known).write(&mut text);
    }
    Record::Dropped(state.dropped).write(&mut text);
    assert_eq!(State::parse(&text), Ok(State { torn: 0, ..state }));
});
