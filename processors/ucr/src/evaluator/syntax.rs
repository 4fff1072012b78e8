//! The syntax tree of an expression.
//!
//! Chains of operators, conditions and accesses are lists, not nested nodes, so that a long expression is not a deep
//! one.

use crate::value::{Text, Value};

pub(super) type Boxed = Box<Expression>;

#[derive(Clone, Debug)]
pub(super) enum Expression {
    Constant(Value<'static>),
    /// Fails when it is reached: a lambda, a method call, an unknown function, …
    Unavailable,
    Name(Text<'static>),
    Unary(Unary, Boxed),
    /// From left to right.
    Binary(Boxed, Vec<(Binary, Expression)>),
    /// Both sides are evaluated, and then it is forbidden.
    Power(Boxed, Boxed),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Compare(Boxed, Vec<(Comparison, Expression)>),
    /// Pairs of a condition and its value, and the last `else`.
    Conditional(Vec<(Expression, Expression)>, Boxed),
    Access(Boxed, Vec<Access>),
    Call(Call),
    List(Vec<Element>),
    Tuple(Vec<Element>),
    Set(Vec<Element>),
    /// Without a key: `**mapping`.
    Dict(Vec<(Option<Expression>, Expression)>),
    Comprehension(Box<Comprehension>),
    /// An f-string.
    Joined(Vec<Piece>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Plus,
    Invert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    /// `@`, which nothing here has.
    Matrix,
    ShiftLeft,
    ShiftRight,
    And,
    Or,
    ExclusiveOr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Is,
    IsNot,
}

#[derive(Clone, Debug)]
pub(super) enum Access {
    Attribute(Text<'static>),
    Index(Expression),
    Slice(Box<[Option<Expression>; 3]>),
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Vec<Expression>,
    /// Without a name: `**mapping`.
    pub(super) named: Vec<(Option<Text<'static>>, Expression)>,
}

#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) value: Expression,
    pub(super) starred: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Comprehension {
    pub(super) element: Expression,
    pub(super) generators: Vec<Generator>,
}

#[derive(Clone, Debug)]
pub(super) struct Generator {
    pub(super) target: Target,
    pub(super) source: Expression,
    pub(super) conditions: Vec<Expression>,
}

#[derive(Clone, Debug)]
pub(super) enum Target {
    Name(Text<'static>),
    Several(Vec<Target>),
    /// An attribute or element: legal syntax, but nothing can be put there.
    Other,
}

#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text(Text<'static>),
    Value { value: Expression, format: Option<Vec<Piece>> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Int,
    Float,
    Str,
    Round,
    Range,
    Today,
    Days,
    TimedeltaToSeconds,
    Context,
    RootContext,
    JsonPath,
    Named,
    Date,
    List,
    Tuple,
    Dict,
    Set,
    /// Known by name, but not the same twice.
    Random,
}

impl Function {
    pub(super) const ALL: [(&'static str, Self); 19] = [
        ("int", Self::Int),
        ("float", Self::Float),
        ("str", Self::Str),
        ("round", Self::Round),
        ("range", Self::Range),
        ("today", Self::Today),
        ("days", Self::Days),
        ("timedelta_to_seconds", Self::TimedeltaToSeconds),
        ("context", Self::Context),
        ("root_context", Self::RootContext),
        ("jsonpath", Self::JsonPath),
        ("named", Self::Named),
        ("date", Self::Date),
        ("list", Self::List),
        ("tuple", Self::Tuple),
        ("dict", Self::Dict),
        ("set", Self::Set),
        ("rand", Self::Random),
        ("randint", Self::Random),
    ];

    pub(super) fn named(name: &str) -> Option<(&'static str, Self)> {
        Self::ALL.into_iter().find(|(known, _)| *known == name)
    }
}
