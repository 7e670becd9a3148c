//! What is chosen for GPUs where nothing is measured, and that everything has kernels that fit.

use mixc::{
    Candidate, Choices, Job, Mixer, ScheduleError, Target, candidates, catalogue, example_job, gpu,
};
use mixc_ir::DType;
use rayon::prelude::*;
use std::collections::BTreeMap;

fn target(name: &str) -> Target {
    name.parse().unwrap()
}

fn sizes(text: &str) -> BTreeMap<String, i64> {
    let pair = |part: &str| {
        let (name, n) = part.split_once('=').unwrap();
        (name.to_owned(), n.parse().unwrap())
    };
    text.split(',').map(pair).collect()
}

/// The names of the candidates of a mixer, best first, and what is known of the best.
fn best<R>(
    mixer: &str,
    shape: &str,
    target_name: &str,
    choices: &Choices,
    f: impl FnOnce(&Candidate) -> R,
) -> (String, R) {
    let (mixer, target) = (Mixer::load(mixer).unwrap(), target(target_name));
    let job = example_job(&mixer, &sizes(shape), &BTreeMap::new(), DType::F32).unwrap();
    let forms = mixer.forms(&job.sizes, &target);
    let found = candidates(&forms, &target, &job, choices, &mut vec![]);
    (found[0].form.name.clone(), f(&found[0]))
}

#[test]
fn a_small_grid_splits_the_keys_and_a_large_one_does_not() {
    let (decode, long) = (
        "B=1,H=8,G=8,I=1,J=20000,D=64,E=64",
        "B=2,H=16,G=16,I=2048,J=2048,D=64,E=64",
    );
    for target in ["sm_80", "sm_89", "sm_90a"] {
        let none = Choices::default();
        let (form, blocks) = best("attention_causal", decode, target, &none, |c| {
            c.gpu[0].1.blocks
        });
        assert_eq!(form, "split-key", "{target}");
        assert!(blocks > 8, "{target}: {blocks}");
        let (form, _) = best("attention_causal", long, target, &none, |_| ());
        assert_eq!(form, "online", "{target}");
    }
}

/// One query to the keys of two or four groups: the rows of a group fill a matrix instruction and no more, and the
/// keys are cut into parts for most of the card's multiprocessors.
#[test]
fn grouped_decode_packs_a_group_and_splits_the_keys() {
    let mixer = Mixer::load("attention_causal").unwrap();
    for shape in [
        "B=1,H=8,G=2,I=1,J=32768,D=64,E=64",
        "B=1,H=32,G=4,I=1,J=32768,D=128,E=128",
    ] {
        let job = example_job(&mixer, &sizes(shape), &BTreeMap::new(), DType::Bf16).unwrap();
        for (name, multiprocessors) in [("sm_80", 108), ("sm_90a", 132)] {
            let target = target(name);
            let forms = mixer.forms(&job.sizes, &target);
            let found = candidates(&forms, &target, &job, &Choices::default(), &mut vec![]);
            let best = &found[0];
            let bufs = &best.schedule.kernels[0].bufs;
            let scores = bufs.iter().find(|b| b.name.starts_with("s_")).unwrap();
            let chosen = (
                &*best.form.name,
                best.schedule.knobs["pack"],
                scores.shape[0],
            );
            assert_eq!(chosen, ("split-key", 16, 16), "{name}, {shape}");
            let blocks = best.gpu[0].1.blocks;
            assert!(
                10 * blocks >= 7 * multiprocessors,
                "{name}, {shape}: {blocks}"
            );
        }
    }
}

#[test]
fn columns_of_a_state_fill_an_idle_card_unless_they_were_asked_for() {
    let shape = "B=1,H=4,T=1024,K=64,V=64";
    let mixer = Mixer::load("linear_attention").unwrap();
    let job = example_job(&mixer, &sizes(shape), &BTreeMap::new(), DType::F32).unwrap();
    let target = target("sm_80");
    let forms = mixer.forms(&job.sizes, &target);
    // The form whose state goes from chunk to chunk within a block.
    let chunkwise: Vec<_> = forms.iter().filter(|f| f.name == "chunkwise").collect();
    let blocks = |choices: &Choices| {
        let found = candidates(chunkwise.clone(), &target, &job, choices, &mut vec![]);
        let times = found[0].gpu.iter().map(|(_, t)| t.blocks);
        (times.max(), found[0].cost.seconds)
    };
    let mut asked = Choices::default();
    let free = blocks(&asked);
    for (name, n) in [("cols", 512), ("rows", 64)] {
        asked.knobs.insert(name.to_owned(), n);
    }
    let fixed = blocks(&asked);
    assert!(free.0 > fixed.0 && free.1 < fixed.1, "{free:?} {fixed:?}");
}

/// A small grid leaves multiprocessors idle as long as one block goes through all chunks.
#[test]
fn few_heads_get_a_pass_over_all_chunks_at_once() {
    let shape = "B=1,H=4,T=4096,K=64,V=64";
    for target in ["sm_80", "sm_90a"] {
        let none = Choices::default();
        let (form, _) = best("linear_attention", shape, target, &none, |_| ());
        let all_at_once = ["chunkwise-states", "chunkwise-parallel"];
        assert!(all_at_once.contains(&form.as_str()), "{target}: {form}");
    }
}

/// Every lowering of a form gives the same text: every rank of a job must run the same kernel. Kernels with several
/// chains of loops have more than one order in which shared memory could be given out.
#[test]
fn a_kernel_comes_out_the_same_each_time() {
    let mixer = Mixer::load("ssd_discrete").unwrap();
    let shape = sizes("B=1,H=16,L=4096,N=64,P=64");
    let job = example_job(&mixer, &shape, &BTreeMap::new(), DType::Bf16).unwrap();
    let target = target("sm_90a");
    let Target::Gpu(gpu) = target else {
        panic!("{target} is no GPU");
    };
    let forms = mixer.forms(&job.sizes, &target);
    let form = forms.iter().find(|f| f.name == "quadratic").unwrap();
    let texts = || -> Vec<String> {
        let fitted = gpu::fit(form, &job, gpu, &Choices::default()).unwrap();
        fitted.kernels.into_iter().map(|k| k.kernel.mlir).collect()
    };
    let first = texts();
    assert!((0..12).all(|_| texts() == first));
}

/// A job whose feature sizes, the constants of its kernels, are `wide`, where the mixer allows it.
fn wide_job(mixer: &Mixer, target: &Target, wide: i64) -> Job {
    let job = |sizes: &BTreeMap<_, _>| example_job(mixer, sizes, &BTreeMap::new(), DType::F32);
    let small = job(&BTreeMap::new()).unwrap();
    let forms = mixer.forms(&small.sizes, target);
    let found = candidates(
        &forms[..1],
        target,
        &small,
        &Choices::default(),
        &mut vec![],
    );
    let mut sizes: BTreeMap<String, i64> = small
        .sizes
        .iter()
        .filter(|(name, _)| mixer.program.dims.contains(*name))
        .map(|(name, n)| (name.to_string(), *n))
        .collect();
    for name in found.iter().flat_map(|c| c.schedule.static_dims.keys()) {
        sizes.insert(name.to_string(), wide);
    }
    job(&sizes).unwrap_or(small)
}

#[test]
fn every_form_of_every_mixer_fits_the_smallest_shared_memory() {
    let target = target("sm_89");
    let Target::Gpu(ada) = target.clone() else {
        panic!("not a GPU")
    };
    let names: Vec<&str> = catalogue().map(|e| e.name).collect();
    let failures: Vec<String> = names
        .par_iter()
        .flat_map_iter(|name| {
            let mixer = Mixer::load(name).unwrap();
            let job = wide_job(&mixer, &target, 64);
            let mut failed = vec![];
            for form in mixer.forms(&job.sizes, &target) {
                match gpu::fit(&form, &job, ada, &Choices::default()) {
                    Ok(fitted) => {
                        let most = fitted.kernels.iter().map(|k| k.kernel.shared_bytes).max();
                        assert!(most <= Some(99 * 1024));
                    }
                    Err(mixc::Error::Schedule(ScheduleError::Unsupported { .. })) => {}
                    Err(e) => failed.push(format!("{name}, {} {:?}: {e}", form.name, job.sizes)),
                }
            }
            failed
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn knobs_that_were_asked_for_are_not_made_smaller() {
    let mixer = Mixer::load("attention_causal").unwrap();
    let shape = sizes("B=1,H=1,G=1,I=256,J=256,D=128,E=128");
    let job = example_job(&mixer, &shape, &BTreeMap::new(), DType::F32).unwrap();
    let target = target("sm_89");
    let Target::Gpu(ada) = target.clone() else {
        panic!("not a GPU")
    };
    let forms = mixer.forms(&job.sizes, &target);
    let online = forms.iter().find(|f| f.name == "online").unwrap();
    let all = [("rows", 128), ("stream", 128), ("stages", 3)];
    let choices = Choices::knobs(all.map(|(n, v)| (n.to_owned(), v)).into());
    let error = gpu::fit(online, &job, ada, &choices)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("shared memory") && error.contains("sm_89"),
        "{error}"
    );
    // What is left open gives way.
    let some = [("rows", 128), ("stages", 2)];
    let choices = Choices::knobs(some.map(|(n, v)| (n.to_owned(), v)).into());
    let fitted = gpu::fit(online, &job, ada, &choices).unwrap();
    assert_eq!(fitted.schedule.knobs["rows"], 128);
    assert!(
        fitted.schedule.knobs["stream"] < 64,
        "{:?}",
        fitted.schedule.knobs
    );
}

/// Loops within a prefetched loop that follow each other have a queue of their own.
#[test]
fn matrices_of_a_recurrence_in_many_blocks_have_kernels() {
    let mixer = Mixer::load("lstm").unwrap();
    let job = example_job(&mixer, &sizes("B=2,T=5,D=40"), &BTreeMap::new(), DType::F32).unwrap();
    let forms = mixer.forms(&job.sizes, &target("sm_89"));
    for stages in [1, 2, 3] {
        let all = [("whole", 16), ("stream", 16), ("stages", stages)];
        let choices = Choices::knobs(all.map(|(n, v)| (n.to_owned(), v)).into());
        let Target::Gpu(ada) = target("sm_89") else {
            panic!("not a GPU")
        };
        assert!(gpu::fit(&forms[0], &job, ada, &choices).is_ok(), "{stages}");
    }
}

/// The kernels that are chosen for a definition that is not shipped, on sm_90a in bf16.
fn chosen(name: &str, shape: &str) -> (String, Vec<mixc_tile::Kernel>, Vec<gpu::Lowered>) {
    let path = format!(
        "{}/../../tests/definitions/{name}.mix",
        env!("CARGO_MANIFEST_DIR")
    );
    let (mixer, target) = (Mixer::load(&path).unwrap(), target("sm_90a"));
    let job = example_job(&mixer, &sizes(shape), &BTreeMap::new(), DType::Bf16).unwrap();
    let forms = mixer.forms(&job.sizes, &target);
    let found = candidates(&forms, &target, &job, &Choices::default(), &mut vec![]);
    let lowered = found[0].gpu.iter().map(|(l, _)| l.clone()).collect();
    (
        found[0].form.name.clone(),
        found[0].schedule.kernels.clone(),
        lowered,
    )
}

fn grid(kernel: &mixc_tile::Kernel) -> Vec<&str> {
    kernel.grid.iter().map(|g| &*g.name).collect()
}

/// Rows are tiles whatever the order of axes, and heads are not.
#[test]
fn positions_before_heads_are_rows_of_tiles() {
    let (form, kernels, lowered) = chosen("positions_first", "B=1,T=4096,H=16,G=4,D=128,E=128");
    assert_eq!((form.as_str(), kernels.len()), ("online", 1));
    assert_eq!(grid(&kernels[0]), ["b", "i_blk", "h"]);
    assert_eq!(lowered[0].kernel.persistent, Some(1));
}

/// Blocks past the end of a sequence are not visited, and those before it are not masked.
#[test]
fn lengths_in_tensors_are_loop_bounds() {
    let (form, kernels, _) = chosen("prefix_mask", "B=2,T=4096,H=16,G=4,D=128,E=128");
    assert_eq!(form, "online");
    let text = kernels[0].to_string();
    let loops: Vec<&str> = text.lines().filter(|l| l.contains(" for ")).collect();
    assert!(loops.iter().all(|l| l.contains("length[b]")), "{loops:?}");
    assert!(loops.iter().any(|l| l.contains("prefix[b]")), "{loops:?}");
}

/// Keys are rotated once, not in every tile of rows, and come through the copy engine then.
#[test]
fn computed_keys_are_prepared_once() {
    let (_, kernels, lowered) = chosen("rotary_attention", "B=1,T=4096,H=16,D=128,E=128");
    assert_eq!(kernels.len(), 2);
    assert!(lowered[1].kernel.persistent.is_some());
    let (_, short, _) = chosen("rotary_attention", "B=1,T=64,H=16,D=128,E=128");
    assert_eq!(short.len(), 1);
}

/// What a norm needs as a whole is stored between the recurrence and the norm, and heads with decays of their own are
/// not one tile though they share their inputs.
#[test]
fn a_norm_of_a_recurrence_has_a_kernel_of_its_own() {
    let (_, kernels, _) = chosen("normalized_ssd", "B=1,H=16,L=4096,P=64,N=128");
    let last = kernels.last().unwrap();
    assert!(
        last.tensors
            .iter()
            .any(|t| t.usage == mixc_tile::Usage::Work)
    );
    assert!(
        kernels.iter().all(|k| grid(k).contains(&"h")),
        "{kernels:?}"
    );
    let loops = |k: &mixc_tile::Kernel| k.to_string().contains(" for ");
    assert!(!loops(last), "{last}");
}

/// Two softmaxes in one kernel would have half of the registers each.
#[test]
fn softmaxes_that_are_added_have_kernels_of_their_own() {
    let (form, kernels, lowered) = chosen(
        "differential_attention",
        "B=1,I=4096,J=4096,H=16,D=128,E=128",
    );
    assert_eq!((form.as_str(), kernels.len()), ("online", 3));
    assert!(lowered[..2].iter().all(|l| l.kernel.persistent.is_some()));
}

/// Accumulators of 64 x 512 fill the registers of four warps.
#[test]
fn wide_accumulators_get_more_warps() {
    let (_, _, lowered) = chosen("latent_attention", "B=1,H=16,I=4096,J=4096,R=512,P=64");
    assert_eq!(lowered[0].kernel.warps, 8);
}

/// What all scores are divided by is one number, which they are multiplied by.
#[test]
fn scores_are_not_divided_one_by_one() {
    let (_, kernels, _) = chosen("tempered_attention", "B=1,H=16,T=4096,D=128,E=128");
    let text = kernels[0].to_string();
    let scores: Vec<&str> = text.lines().filter(|l| l.contains("tanh")).collect();
    assert!(!scores.is_empty(), "{text}");
    let multiplied =
        |line: &&str| line.contains(" / temperature / cap * s_") && !line.contains("] /");
    assert!(scores.iter().all(multiplied), "{scores:#?}");
}

/// Where reading factors takes longer than multiplying them, a warp has 32 rows to use them for: if registers hold the
/// results and there are blocks enough.
#[test]
fn tall_tiles_where_factors_are_what_products_wait_for() {
    let mixer = Mixer::load("attention_causal").unwrap();
    let tile = |name: &str, shape: &str| {
        let job = example_job(&mixer, &sizes(shape), &BTreeMap::new(), DType::Bf16).unwrap();
        let Target::Gpu(gpu) = target(name) else {
            panic!("{name} is no GPU")
        };
        let forms = mixer.forms(&job.sizes, &target(name));
        let online = forms.iter().find(|f| f.name == "online").unwrap();
        let fitted = gpu::fit(online, &job, gpu, &Choices::default()).unwrap();
        let knobs = &fitted.schedule.knobs;
        (
            knobs["rows"],
            knobs["stream"],
            fitted.kernels[0].kernel.warps,
        )
    };
    let (long, wide, short) = (
        "B=1,H=16,G=4,I=4096,J=4096,D=128,E=128",
        "B=1,H=16,G=4,I=4096,J=4096,D=256,E=256",
        "B=1,H=4,G=4,I=1024,J=1024,D=128,E=128",
    );
    assert_eq!(tile("sm_80", long), (128, 32, 4));
    assert_eq!(tile("sm_80", &long.replace("128", "64")), (128, 64, 4));
    for (target, shape) in [("sm_80", wide), ("sm_80", short), ("sm_89", long)] {
        assert_eq!(tile(target, shape).0, 64, "{target}, {shape}");
    }
}

/// The first keys and a window: what lies between is not visited, and loads run ahead over it.
#[test]
fn first_keys_and_a_window_leave_out_what_lies_between() {
    let shape = "B=1,H=16,G=16,I=4096,J=4096,D=128,E=128,window=40,first=4";
    let (form, kernels, lowered) = chosen("first_keys_window", shape);
    assert_eq!((form.as_str(), kernels.len()), ("online", 1));
    let named = sizes(shape)
        .into_iter()
        .map(|(n, v)| (n.into(), v))
        .collect();
    let fmas = mixc_tile::counts::counts(&kernels[0], &named)
        .unwrap()
        .contract_fmas;
    // Each of 32 tiles of rows of 16 heads meets the first block and the two of its window, the first tiles fewer.
    let block = 128 * 128 * (128 + 128);
    assert_eq!(fmas, 16 * (1 + 2 + 30 * 3) * block);
    // One chain of loops, through the copy engine.
    assert_eq!(lowered[0].kernel.persistent, Some(1));
    let prefetched = lowered[0].kernel.shared_bytes as usize / (128 * 128 * 2);
    assert!(prefetched >= 3, "{prefetched} tiles in flight");
}
