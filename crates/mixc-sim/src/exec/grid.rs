//! The blocks of a launch: run in parallel, merged in order.

use super::block::{BlockEnd, BlockRun, Scratch, thread_id};
use super::{Launch, Report};
use crate::check::blocks::{Footprint, Meeting, Merged, Touch};
use crate::check::finding::{Finding, FindingKind, Findings, Other};
use crate::counts::{Counts, Tally};
use crate::profile::Profile;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Runs all blocks. Workers take blocks in order, so that a block may wait for an earlier one.
pub(crate) fn run(launch: &Launch) -> Report {
    launch.memory.start_launch();
    let blocks: u64 = launch.grid.iter().map(|&n| u64::from(n)).product();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let results = Mutex::new(Results::new(launch));
    let work = || {
        let mut scratch = Scratch {
            tallies: vec![Tally::default(); launch.program.code.len()],
            footprint: Footprint::new(launch.buffers().map(|b| b.len)),
        };
        loop {
            let block = next.fetch_add(1, Relaxed);
            if block >= blocks || stop.load(Relaxed) {
                break;
            }
            let (end, back) = BlockRun::new(launch, block_id(launch, block), scratch).run();
            scratch = back;
            if end.aborted {
                stop.store(true, Relaxed);
            }
            results
                .lock()
                .expect("bug: a worker panicked")
                .push(launch, block, end);
        }
        let tallies = &mut results.lock().expect("bug: a worker panicked").tallies;
        tallies
            .iter_mut()
            .zip(&scratch.tallies)
            .for_each(|(a, b)| a.add(b));
    };
    if launch.options.parallel && blocks > 1 {
        let workers = rayon::current_num_threads().min(blocks as usize);
        rayon::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|_| work());
            }
        });
    } else {
        work();
    }
    let results = results.into_inner().expect("bug: a worker panicked");
    let all = 0..results.tallies.len();
    Report {
        findings: results.findings.sorted(),
        counts: Counts::over(launch.program, &results.tallies, all),
        profile: Profile::of(launch, &results.tallies),
    }
}

fn block_id(launch: &Launch, block: u64) -> [u32; 3] {
    let [gx, gy, _] = launch.grid.map(u64::from);
    [block % gx, block / gx % gy, block / gx / gy].map(|n| n as u32)
}

struct Results {
    /// Blocks are merged in order; those that finished early wait.
    next: u64,
    waiting: BTreeMap<u64, BlockEnd>,
    /// A block stopped the launch. Later ones may have run or not, so they do not count.
    ended: bool,
    findings: Findings,
    merged: Merged,
    tallies: Vec<Tally>,
}

impl Results {
    fn new(launch: &Launch) -> Results {
        Results {
            next: 0,
            waiting: BTreeMap::new(),
            ended: false,
            findings: Findings::default(),
            merged: Merged::default(),
            tallies: vec![Tally::default(); launch.program.code.len()],
        }
    }

    fn push(&mut self, launch: &Launch, block: u64, end: BlockEnd) {
        self.waiting.insert(block, end);
        while let Some(end) = self.waiting.remove(&self.next).filter(|_| !self.ended) {
            self.findings.merge(end.findings);
            self.ended = end.aborted;
            let findings = &mut self.findings;
            let report = |m: Meeting| report_meeting(launch, findings, m);
            self.merged.add(self.next, end.touches, report);
            self.next += 1;
        }
    }
}

fn report_meeting(launch: &Launch, findings: &mut Findings, m: Meeting) {
    let place = |(block, touch): &(u64, Touch)| {
        let (line, text) = launch.line_text(touch.pc);
        let thread = thread_id(launch, touch.thread as usize);
        (line, text, block_id(launch, *block), thread)
    };
    findings.add(FindingKind::RaceBetweenBlocks, m.later.1.pc, || {
        let (line, text, block, thread) = place(&m.later);
        let address = launch.numbered_address(m.buffer, m.offset);
        let object = launch.find(address);
        let object = object.map(|(b, offset, name)| format!("{name}, byte {offset} of {}", b.len));
        let other = place(&m.earlier);
        Finding {
            kind: FindingKind::RaceBetweenBlocks,
            message: "two blocks of one launch use the same global memory, and nothing orders them"
                .to_string(),
            line,
            text,
            block,
            thread,
            address: Some(address),
            object,
            other: Some(Other {
                line: other.0,
                text: other.1,
                block: other.2,
                thread: other.3,
            }),
            occurrences: 1,
        }
    });
}
