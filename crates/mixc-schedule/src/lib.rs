//! The scheduler: programs to tile kernels.
//!
//! In: a program (a mixer as written, or a form of it), the sizes and element types of a call, and
//! knobs. Out: a sequence of kernels and the work tensors between them. It knows terms and tiles; it
//! knows no mixer and no machine.
//!
//! The lets of a program become kernels, one or several lets each. Which loops a kernel has follows
//! from its terms: reductions over long axes are streamed in blocks ([`stream`]), recurrences step
//! through time or through chunks ([`kernel`]), everything else is whole tiles ([`lower`]).

mod apart;
mod bounds;
mod builder;
mod contract;
mod declare;
mod dyadic;
mod edit;
mod error;
mod fresh;
mod group;
mod kernel;
mod knobs;
mod lower;
mod narrow;
mod pack;
mod prepare;
mod quotient;
mod roles;
mod sequential;
mod spell;
mod steps;
mod stream;
mod template;
mod unify;

pub use error::ScheduleError;
pub use template::{Action, Blocks, Condition, Knob, Range, TEMPLATES, Template, parse_template};

use mixc_ir::{DType, Ix, Name, Program, Term};
use mixc_tile::{Kernel, TensorArg, Usage};
use std::collections::{BTreeMap, BTreeSet};

/// What a schedule is made for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Every size and every integer scalar parameter. Feature sizes become constants of the kernels;
    /// the others only guide the choice of knobs.
    pub sizes: BTreeMap<Name, i64>,
    /// Element types of inputs and outputs; f32 where none is given.
    pub dtypes: BTreeMap<Name, DType>,
    /// Inputs with a default that are not given.
    pub absent: BTreeSet<Name>,
    /// Tensors whose innermost stride is not 1.
    pub strided: BTreeSet<Name>,
    /// Knobs by name; those not named take their default for the sizes.
    pub knobs: BTreeMap<String, i64>,
    /// The target multiplies matrices by instructions: tiles of sequences have at least 16 rows if the knob `rows` allows
    /// it, and scratch that only enters 16-bit products is stored in 16 bits.
    pub matrix_units: bool,
}

/// Kernels to run in order.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub kernels: Vec<Kernel>,
    /// Tensors between kernels, dense, f32 but for factors of 16-bit products; shapes over dims.
    pub work: Vec<TensorArg>,
    /// Sizes that are constants of the kernels: a call must have the same.
    pub static_dims: BTreeMap<Name, i64>,
    /// Every knob with the value taken.
    pub knobs: BTreeMap<String, i64>,
    /// The templates of the kernels.
    pub template: String,
}

/// Makes the kernels of a program.
///
/// # Errors
/// [`ScheduleError::Unsupported`] if a term has no schedule yet (its text says which and why).
pub fn schedule(program: &Program, request: &Request) -> Result<Schedule, ScheduleError> {
    let mut program = program.clone();
    drop_absent(&mut program, &request.absent);
    spell::spell_out(&mut program);
    quotient::fewer_divisions(&mut program);
    if request.matrix_units {
        apart::apart(&mut program);
    }
    if request.matrix_units && knobs::has_diagonal_decay(&program) {
        let schedule = schedule_for(program.clone(), request, false)?;
        if !schedule.kernels.iter().any(dyadic::is_left_out) {
            return Ok(schedule);
        }
    }
    schedule_for(program, request, true)
}

fn schedule_for(
    mut program: Program,
    request: &Request,
    elementwise: bool,
) -> Result<Schedule, ScheduleError> {
    let mut knobs = knobs::choose_knobs(&program, request, elementwise);
    knobs::bind_split_sizes(&mut program, &knobs);
    let mut roles = roles::Roles::new(&program, request);
    if request.matrix_units {
        prepare::prepare(&mut program, &roles, knobs["rows"]);
    }
    let mut packings = pack::choose(&mut program, &mut roles, &mut knobs, request);
    let static_dims = group::bind_static_dims(&mut program, &roles, &packings, request);
    packings.values_mut().for_each(|p| p.bind(&static_dims));

    let groups = group::group(&program, &roles, &packings);
    let mut kernels = vec![];
    let mut names = vec![];
    for (n, group) in groups.iter().enumerate() {
        let name = format!("{}_{n}", identifier(&program.name));
        let (mut kernel, template) = match group {
            group::Group::Lets(lets) => kernel::lower_lets(&program, &name, lets, &roles, &knobs)?,
            group::Group::Scan(scan) => {
                sequential::lower_scan(&program, &name, scan, &roles, &knobs)?
            }
        };
        mixc_tile::reuse::reuse(&mut kernel);
        declare::declare_tensors(&mut kernel, &program, request);
        kernels.push(kernel);
        if !names.contains(&template) {
            names.push(template);
        }
    }
    if request.matrix_units {
        narrow::narrow(&mut kernels);
    }
    let outputs: BTreeSet<&Name> = program.outputs.iter().map(|o| &o.name).collect();
    let mut work: Vec<TensorArg> = vec![];
    for tensor in kernels.iter().flat_map(|k| &k.tensors) {
        if tensor.usage == Usage::Work
            && !outputs.contains(&tensor.name)
            && work.iter().all(|w| w.name != tensor.name)
        {
            work.push(tensor.clone());
        }
    }
    Ok(Schedule {
        kernels,
        work,
        static_dims,
        knobs,
        template: names.join("+"),
    })
}

/// The knobs of a program's schedule, each with the values that it may take.
pub fn knobs(program: &Program) -> Vec<&'static Knob> {
    knobs::knobs_of(program)
}

fn identifier(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// Reads of inputs that are not given become their default.
fn drop_absent(program: &mut Program, absent: &BTreeSet<Name>) {
    let defaults: BTreeMap<Name, f64> = program
        .tensors
        .iter()
        .filter(|t| absent.contains(&t.name))
        .filter_map(|t| Some((t.name.clone(), t.default?)))
        .collect();
    if defaults.is_empty() {
        return;
    }
    edit::map_terms(program, &mut |t| {
        t.rebuild(&mut |t| match &*t {
            Term::Read { tensor, .. } => defaults
                .get(tensor)
                .map_or(t.clone(), |v| Term::constant(*v)),
            _ => t,
        })
    });
    edit::map_indices(program, &|leaf| match leaf {
        Ix::Elem(tensor, _) => defaults.get(tensor).map(|v| Ix::Const(*v as i64)),
        _ => None,
    });
    program.tensors.retain(|t| !defaults.contains_key(&t.name));
}
