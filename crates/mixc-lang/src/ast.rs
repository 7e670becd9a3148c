//! The syntax tree of `.mix` files, as written: nothing is resolved here.
//!
//! Two trees are equal if they print the same; places in the text do not count.

use mixc_text::Span;

/// A place in the text. All places are equal, so that trees compare by content.
#[derive(Clone, Copy, Debug, Default)]
pub struct At(pub Span);

impl PartialEq for At {
    fn eq(&self, _: &At) -> bool {
        true
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    pub name: String,
    pub at: At,
}

impl Ident {
    pub fn span(&self) -> Span {
        self.at.0
    }
}

/// `mixer name(params) -> outputs where constraints { body }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixer {
    pub docs: Vec<String>,
    pub name: Ident,
    pub params: Vec<Param>,
    pub outputs: Vec<Output>,
    pub constraints: Vec<Expr>,
    pub body: Vec<Stmt>,
}

/// `q: [B, H, T, K] in [-1, 1] = 0`, `window: int = -1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub docs: Vec<String>,
    pub name: Ident,
    pub ty: Type,
    pub range: Option<Interval>,
    pub default: Option<Expr>,
}

/// `int [B, T]`, `[B, T]`, `f32`.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    pub kind: Option<Ident>,
    /// Sizes of the axes; None for a scalar.
    pub shape: Option<Vec<Expr>>,
    pub at: At,
}

/// `[0, 1]`, `(-inf, 0]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    pub low: Expr,
    pub low_closed: bool,
    pub high: Expr,
    pub high_closed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub docs: Vec<String>,
    pub name: Ident,
    pub ty: Type,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    pub docs: Vec<String>,
    pub kind: StmtKind,
    pub at: At,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `s[i, j] = value`.
    Let {
        target: Target,
        value: Expr,
    },
    /// `keep(i, j) = body`.
    Function {
        name: Ident,
        params: Vec<Ident>,
        body: Expr,
    },
    Scan(Scan),
}

/// `scan t in T reverse carry S[a, e] = 0 { body }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    pub var: Binder,
    pub reverse: bool,
    pub carries: Vec<Carry>,
    pub body: Vec<Stmt>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    pub target: Target,
    pub init: Expr,
}

/// The left side of a definition: a name and its index variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub name: Ident,
    pub vars: Vec<Binder>,
    pub at: At,
}

/// An index variable where it is introduced, with its range if that is written: `s in T`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binder {
    pub name: Ident,
    pub range: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub at: At,
    /// Levels of nesting; the parser keeps it below [`MAX_DEPTH`].
    depth: usize,
}

/// Deepest nesting of an expression. Everything that walks a tree may recurse this far.
pub const MAX_DEPTH: usize = 100;

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// Stands for text that did not parse; it was reported.
    Error,
    Int(u64),
    Float(f64),
    Name(Ident),
    /// `x[i, j - 1]`.
    Index {
        name: Ident,
        index: Vec<Expr>,
    },
    /// `exp(x)`.
    Call {
        name: Ident,
        args: Vec<Expr>,
    },
    /// `sum[d](x)`, `softmax[j](x)`.
    Reduce {
        name: Ident,
        vars: Vec<Binder>,
        args: Vec<Expr>,
    },
    Neg(Box<Expr>),
    Not(Box<Expr>),
    Binary {
        op: BinOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `a <= b < c`.
    Compare {
        first: Box<Expr>,
        rest: Vec<(CmpOp, Expr)>,
    },
    /// `then if cond else other`.
    If {
        then: Box<Expr>,
        cond: Box<Expr>,
        other: Box<Expr>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinOp {
    Or,
    And,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl BinOp {
    pub fn symbol(self) -> &'static str {
        match self {
            BinOp::Or => "or",
            BinOp::And => "and",
            BinOp::Add => "+",
            BinOp::Sub => "-",
            BinOp::Mul => "*",
            BinOp::Div => "/",
            BinOp::Mod => "%",
            BinOp::Pow => "**",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmpOp {
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
}

impl CmpOp {
    pub const ALL: [CmpOp; 6] = [
        CmpOp::Lt,
        CmpOp::Le,
        CmpOp::Gt,
        CmpOp::Ge,
        CmpOp::Eq,
        CmpOp::Ne,
    ];

    pub fn symbol(self) -> &'static str {
        match self {
            CmpOp::Lt => "<",
            CmpOp::Le => "<=",
            CmpOp::Gt => ">",
            CmpOp::Ge => ">=",
            CmpOp::Eq => "==",
            CmpOp::Ne => "!=",
        }
    }
}

impl Expr {
    pub fn new(kind: ExprKind, span: Span) -> Expr {
        let depth = 1 + kind.children().map(|e| e.depth).max().unwrap_or(0);
        Expr {
            kind,
            at: At(span),
            depth,
        }
    }

    pub fn depth(&self) -> usize {
        self.depth
    }

    pub fn span(&self) -> Span {
        self.at.0
    }
}

impl ExprKind {
    fn children(&self) -> Box<dyn Iterator<Item = &Expr> + '_> {
        match self {
            ExprKind::Error | ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Name(_) => {
                Box::new(std::iter::empty())
            }
            ExprKind::Index { index: list, .. } | ExprKind::Call { args: list, .. } => {
                Box::new(list.iter())
            }
            ExprKind::Reduce { vars, args, .. } => Box::new(
                args.iter()
                    .chain(vars.iter().filter_map(|v| v.range.as_ref())),
            ),
            ExprKind::Neg(e) | ExprKind::Not(e) => Box::new(std::iter::once(&**e)),
            ExprKind::Binary { left, right, .. } => Box::new([&**left, &**right].into_iter()),
            ExprKind::Compare { first, rest } => {
                Box::new(std::iter::once(&**first).chain(rest.iter().map(|(_, e)| e)))
            }
            ExprKind::If { then, cond, other } => {
                Box::new([&**then, &**cond, &**other].into_iter())
            }
        }
    }
}
