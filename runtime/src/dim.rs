//! Dimensions, known or symbolic.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// Values of the symbols of a graph.
pub type Bindings = BTreeMap<String, usize>;

/// One dimension of a shape: a number, or an expression of the graph's symbols such as `N` or `ceil(H/2)`.
///
/// Arithmetic simplifies as it goes: sums and products are kept in a canonical form, so that `N*784/784 == N`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim(Expr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Expr {
    Const(i64),
    Symbol(Arc<str>),
    /// constant + sum of coefficient * term; terms sorted, no coefficient 0, at least one term
    Sum(i64, Vec<(i64, Arc<Expr>)>),
    /// product of sorted factors, none constant, at least two
    Product(Vec<Expr>),
    Floor(Arc<(Expr, Expr)>),
    Ceil(Arc<(Expr, Expr)>),
    Max(Arc<(Expr, Expr)>),
    Min(Arc<(Expr, Expr)>),
}

impl Dim {
    /// A named symbol.
    pub fn symbol(name: &str) -> Self {
        Self(Expr::Symbol(name.into()))
    }
    /// A symbol that no other dimension has: decided by data while running. Its name starts with `?`.
    pub fn unknown() -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self::symbol(&format!("?{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }
    /// A number that may be negative (in shape arithmetic).
    pub fn signed(n: i64) -> Self {
        Self(Expr::Const(n))
    }
    /// The number, when known and not negative.
    pub fn known(&self) -> Option<usize> {
        self.known_signed().and_then(|n| usize::try_from(n).ok())
    }
    /// The number, when known.
    pub fn known_signed(&self) -> Option<i64> {
        if let Expr::Const(n) = self.0 { Some(n) } else { None }
    }
    /// The name, when this is a bare symbol.
    pub fn symbol_name(&self) -> Option<&str> {
        if let Expr::Symbol(s) = &self.0 { Some(s) } else { None }
    }
    /// `a / b` rounded down.
    #[must_use]
    pub fn div_floor(&self, b: &Dim) -> Dim {
        Dim(divide(&self.0, &b.0, false))
    }
    /// `a / b` rounded up.
    #[must_use]
    pub fn div_ceil(&self, b: &Dim) -> Dim {
        Dim(divide(&self.0, &b.0, true))
    }
    /// The larger one.
    #[must_use]
    pub fn larger(&self, b: &Dim) -> Dim {
        Dim(extreme(&self.0, &b.0, true))
    }
    /// The smaller one.
    #[must_use]
    pub fn smaller(&self, b: &Dim) -> Dim {
        Dim(extreme(&self.0, &b.0, false))
    }
    /// Product of dimensions; 1 of none.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
        dims.into_iter().fold(Dim::from(1), |a, b| a * b.clone())
    }
    /// The value under bindings; what has no binding stays symbolic.
    #[must_use]
    pub fn bind(&self, bindings: &Bindings) -> Dim {
        Dim(bind(&self.0, bindings))
    }
    /// True when the expression has few enough terms to be worth following. A graph can double an expression with every node,
    /// so what is bigger is treated as unknown.
    pub(crate) fn is_small(&self) -> bool {
        const MOST: usize = 512;
        let mut left = MOST;
        count(&self.0, &mut left)
    }
    /// Adds the names of all symbols to `out`.
    pub fn symbols(&self, out: &mut std::collections::BTreeSet<String>) {
        symbols(&self.0, out);
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Self(Expr::Const(i64::try_from(n).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Add for Dim {
    type Output = Dim;
    fn add(self, b: Dim) -> Dim {
        Dim(linear(&self.0, &b.0, 1))
    }
}

impl std::ops::Sub for Dim {
    type Output = Dim;
    fn sub(self, b: Dim) -> Dim {
        Dim(linear(&self.0, &b.0, -1))
    }
}

impl std::ops::Mul for Dim {
    type Output = Dim;
    fn mul(self, b: Dim) -> Dim {
        Dim(multiply(&self.0, &b.0))
    }
}

fn terms(e: &Expr) -> (i64, Vec<(i64, Arc<Expr>)>) {
    match e {
        Expr::Const(n) => (*n, Vec::new()),
        Expr::Sum(c, t) => (*c, t.clone()),
        other => (0, vec![(1, Arc::new(other.clone()))]),
    }
}

fn from_terms(constant: i64, mut terms: Vec<(i64, Arc<Expr>)>) -> Expr {
    terms.retain(|t| t.0 != 0);
    terms.sort_by(|a, b| a.1.cmp(&b.1));
    match (constant, terms.as_slice()) {
        (n, []) => Expr::Const(n),
        (0, [(1, t)]) => (**t).clone(),
        _ => Expr::Sum(constant, terms),
    }
}

/// `a + sign * b`
fn linear(a: &Expr, b: &Expr, sign: i64) -> Expr {
    let ((ca, mut ta), (cb, tb)) = (terms(a), terms(b));
    for (k, t) in tb {
        match ta.iter_mut().find(|x| x.1 == t) {
            Some(x) => x.0 = x.0.saturating_add(sign.saturating_mul(k)),
            None => ta.push((sign.saturating_mul(k), t)),
        }
    }
    from_terms(ca.saturating_add(sign.saturating_mul(cb)), ta)
}

fn multiply(a: &Expr, b: &Expr) -> Expr {
    match (a, b) {
        (Expr::Const(k), e) | (e, Expr::Const(k)) => {
            let (c, t) = terms(e);
            from_terms(c.saturating_mul(*k), t.into_iter().map(|(m, t)| (m.saturating_mul(*k), t)).collect())
        }
        (Expr::Sum(0, t), e) | (e, Expr::Sum(0, t)) if t.len() == 1 => {
            multiply(&Expr::Const(t[0].0), &multiply(&t[0].1, e))
        }
        _ => {
            let mut f = factors(a);
            f.extend(factors(b));
            f.sort();
            Expr::Product(f)
        }
    }
}

fn factors(e: &Expr) -> Vec<Expr> {
    if let Expr::Product(f) = e { f.clone() } else { vec![e.clone()] }
}

/// The coefficient and the factors of a single product.
fn monomial(e: &Expr) -> Option<(i64, Vec<Expr>)> {
    match e {
        Expr::Const(n) => Some((*n, Vec::new())),
        Expr::Sum(0, t) if t.len() == 1 => Some((t[0].0, factors(&t[0].1))),
        Expr::Sum(..) => None,
        other => Some((1, factors(other))),
    }
}

/// `a / b` when it is exact for every value of the symbols.
fn divide_exactly(a: &Expr, b: &Expr) -> Option<Expr> {
    let (kb, fb) = monomial(b)?;
    if kb == 0 {
        return None;
    }
    if let (Expr::Sum(c, t), true) = (a, fb.is_empty())
        && c % kb == 0
        && t.iter().all(|t| t.0 % kb == 0)
    {
        return Some(from_terms(c / kb, t.iter().map(|(k, t)| (k / kb, t.clone())).collect()));
    }
    let (ka, mut fa) = monomial(a)?;
    for f in fb {
        let at = fa.iter().position(|x| *x == f)?;
        fa.remove(at);
    }
    if ka % kb != 0 {
        return None;
    }
    let mut e = Expr::Const(ka / kb);
    for f in fa {
        e = multiply(&e, &f);
    }
    Some(e)
}

fn divide(a: &Expr, b: &Expr, up: bool) -> Expr {
    if let (Expr::Const(x), Expr::Const(y)) = (a, b)
        && *y != 0
    {
        let q = x.div_euclid(*y) - i64::from(*y < 0 && x.rem_euclid(*y) != 0);
        return Expr::Const(q + i64::from(up && x.rem_euclid(*y) != 0));
    }
    if let Some(e) = divide_exactly(a, b) {
        return e;
    }
    let pair = Arc::new((a.clone(), b.clone()));
    if up { Expr::Ceil(pair) } else { Expr::Floor(pair) }
}

fn extreme(a: &Expr, b: &Expr, largest: bool) -> Expr {
    if a == b {
        return a.clone();
    }
    if let (Expr::Const(x), Expr::Const(y)) = (a, b) {
        Expr::Const(if largest { *x.max(y) } else { *x.min(y) })
    } else {
        let pair = Arc::new(if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) });
        if largest { Expr::Max(pair) } else { Expr::Min(pair) }
    }
}

fn bind(e: &Expr, v: &Bindings) -> Expr {
    match e {
        Expr::Const(_) => e.clone(),
        Expr::Symbol(s) => v.get(&**s).map_or_else(|| e.clone(), |&n| Dim::from(n).0),
        Expr::Sum(c, t) => t.iter().fold(Expr::Const(*c), |a, (k, t)| linear(&a, &bind(t, v), *k)),
        Expr::Product(f) => f.iter().fold(Expr::Const(1), |a, f| multiply(&a, &bind(f, v))),
        Expr::Floor(p) => divide(&bind(&p.0, v), &bind(&p.1, v), false),
        Expr::Ceil(p) => divide(&bind(&p.0, v), &bind(&p.1, v), true),
        Expr::Max(p) => extreme(&bind(&p.0, v), &bind(&p.1, v), true),
        Expr::Min(p) => extreme(&bind(&p.0, v), &bind(&p.1, v), false),
    }
}

/// Takes the size of an expression from `left`; false as soon as nothing is left.
fn count(e: &Expr, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else { return false };
    *left = rest;
    match e {
        Expr::Const(_) | Expr::Symbol(_) => true,
        Expr::Sum(_, t) => t.iter().all(|t| count(&t.1, left)),
        Expr::Product(f) => f.iter().all(|f| count(f, left)),
        Expr::Floor(p) | Expr::Ceil(p) | Expr::Max(p) | Expr::Min(p) => count(&p.0, left) && count(&p.1, left),
    }
}

fn symbols(e: &Expr, out: &mut std::collections::BTreeSet<String>) {
    match e {
        Expr::Const(_) => {}
        Expr::Symbol(s) => {
            out.insert(s.to_string());
        }
        Expr::Sum(_, t) => t.iter().for_each(|t| symbols(&t.1, out)),
        Expr::Product(f) => f.iter().for_each(|f| symbols(f, out)),
        Expr::Floor(p) | Expr::Ceil(p) | Expr::Max(p) | Expr::Min(p) => {
            symbols(&p.0, out);
            symbols(&p.1, out);
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Const(n) => write!(f, "{n}"),
            Expr::Symbol(s) => f.write_str(s),
            Expr::Sum(c, t) => {
                for (i, (k, t)) in t.iter().enumerate() {
                    match (i, *k) {
                        (0, 1) => write!(f, "{t}")?,
                        (0, k) => write!(f, "{k}*{t}")?,
                        (_, 1) => write!(f, "+{t}")?,
                        (_, k) => write!(f, "{k:+}*{t}")?,
                    }
                }
                if *c == 0 { Ok(()) } else { write!(f, "{c:+}") }
            }
            Expr::Product(p) => {
                for (i, e) in p.iter().enumerate() {
                    let star = if i == 0 { "" } else { "*" };
                    if matches!(e, Expr::Sum(..)) { write!(f, "{star}({e})")? } else { write!(f, "{star}{e}")? }
                }
                Ok(())
            }
            Expr::Floor(p) => write!(f, "floor(({})/({}))", p.0, p.1),
            Expr::Ceil(p) => write!(f, "ceil(({})/({}))", p.0, p.1),
            Expr::Max(p) => write!(f, "max({}, {})", p.0, p.1),
            Expr::Min(p) => write!(f, "min({}, {})", p.0, p.1),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A shape as `[1, 3, H, W]`.
pub fn show_shape<D: fmt::Display>(shape: &[D]) -> String {
    let parts: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", parts.join(", "))
}

/// All numbers of a shape, when every one is known.
pub fn known_shape(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(Dim::known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_quotients_cancel() {
        let n = Dim::symbol("N");
        let all = n.clone() * Dim::from(28) * Dim::from(28);
        assert_eq!(all.div_floor(&Dim::from(784)), n);
        assert_eq!(all.div_floor(&n), Dim::from(784));
        assert_eq!((n.clone() + Dim::from(3)) - n.clone(), Dim::from(3));
        assert_eq!((n.clone() * Dim::from(0)), Dim::from(0));
    }

    #[test]
    fn binding_evaluates_rounding_both_ways() {
        let h = Dim::symbol("H");
        let down = (h.clone() - Dim::from(3)).div_floor(&Dim::from(2)) + Dim::from(1);
        let up = h.div_ceil(&Dim::from(2));
        let at = |d: &Dim, n| d.bind(&Bindings::from([("H".to_string(), n)])).known();
        assert_eq!((at(&down, 28), at(&up, 28)), (Some(13), Some(14)));
        assert_eq!((at(&down, 27), at(&up, 27)), (Some(13), Some(14)));
        assert_eq!(format!("{down}"), "floor((H-3)/(2))+1");
    }

    #[test]
    fn an_expression_that_doubles_again_and_again_is_not_small() {
        let mut d = Dim::symbol("N");
        assert!(d.is_small());
        for _ in 0..9 {
            d = d.clone() * d.clone();
        }
        assert!(!d.is_small());
    }

    #[test]
    fn unknown_dimensions_differ() {
        assert_ne!(Dim::unknown(), Dim::unknown());
    }
}
