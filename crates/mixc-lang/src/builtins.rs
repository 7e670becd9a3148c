//! The functions and reductions of the language.

use mixc_ir::Func;

/// What `name(...)` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fun {
    /// An elementwise function of reals.
    Map(Func),
    /// Of two or more numbers; of integers an integer.
    Min,
    Max,
    /// An integer or a predicate as a real number.
    Real,
    /// A predicate as the integer 1 or 0.
    Int,
    Re,
    Im,
    Conj,
    /// A complex number from its real and imaginary part.
    Complex,
    /// cos x + i sin x.
    Expi,
}

impl Fun {
    pub fn by_name(name: &str) -> Option<Fun> {
        Some(match name {
            "min" => Fun::Min,
            "max" => Fun::Max,
            "real" => Fun::Real,
            "int" => Fun::Int,
            "re" => Fun::Re,
            "im" => Fun::Im,
            "conj" => Fun::Conj,
            "complex" => Fun::Complex,
            "expi" => Fun::Expi,
            _ => Fun::Map(Func::by_name(name)?),
        })
    }

    /// Every name, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let own = [
            "min", "max", "real", "int", "re", "im", "conj", "complex", "expi",
        ];
        own.into_iter().chain(Func::ALL.iter().map(|f| f.name()))
    }

    /// Least and greatest number of arguments.
    pub fn arity(self) -> (usize, usize) {
        match self {
            Fun::Map(f) => (f.arity(), f.arity()),
            Fun::Min | Fun::Max => (2, usize::MAX),
            Fun::Complex => (2, 2),
            Fun::Real | Fun::Int | Fun::Re | Fun::Im | Fun::Conj | Fun::Expi => (1, 1),
        }
    }
}

macro_rules! reductions {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal $binds:literal $args:literal;)*) => {
        /// What `name[j](...)` means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reduction { $($(#[doc = $doc])* $variant,)* }

        impl Reduction {
            pub const ALL: &'static [Reduction] = &[$(Reduction::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Reduction::$variant => $name,)* }
            }

            /// Whether the variables in brackets end here. Otherwise they come from outside and the
            /// value is a function of them, as softmax is.
            pub fn binds(self) -> bool {
                match self { $(Reduction::$variant => $binds,)* }
            }

            /// Number of arguments in parentheses.
            pub fn args(self) -> usize {
                match self { $(Reduction::$variant => $args,)* }
            }
        }
    };
}

reductions! {
    Sum "sum" true 1;
    Mean "mean" true 1;
    Prod "prod" true 1;
    Max "max" true 1;
    Min "min" true 1;
    /// log of the sum of exp.
    Lse "lse" true 1;
    Any "any" true 1;
    All "all" true 1;
    /// Position of the largest value, the first one of several.
    Argmax "argmax" true 1;
    Argmin "argmin" true 1;
    Softmax "softmax" false 1;
    /// Sum over the positions up to and with this one.
    Cumsum "cumsum" false 1;
    Cumprod "cumprod" false 1;
    /// How many positions come before this one in descending order; earlier ones first among equals.
    Rank "rank" false 1;
    /// Whether this position is among the k largest: rank < k.
    Topk "topk" false 2;
}

impl Reduction {
    pub fn by_name(name: &str) -> Option<Reduction> {
        Reduction::ALL.iter().copied().find(|r| r.name() == name)
    }

    /// How often the argument occurs in the value.
    pub fn copies(self) -> usize {
        match self {
            Reduction::Argmax | Reduction::Argmin | Reduction::Rank | Reduction::Topk => 4,
            _ => 1,
        }
    }
}
