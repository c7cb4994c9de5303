//! The name in a table that looks most like an unknown one.

/// The candidate with the fewest changed letters (at most a third of the name), or the longest that the name contains; letters' case
/// does not matter.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.rsplit(['>', '.', ':']).next().unwrap_or(name).to_ascii_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    let mut best: Option<((usize, usize, &str), &str)> = None;
    for candidate in candidates {
        let lower = candidate.to_ascii_lowercase();
        let inside = lower.len() >= 4 && wanted.contains(&lower);
        let changed = distance(&wanted, &lower);
        if changed > allowed && !inside {
            continue;
        }
        let key = (if inside { 0 } else { changed }, usize::MAX.saturating_sub(lower.len()), candidate);
        if best.is_none_or(|(b, _)| key < b) {
            best = Some((key, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Letters to insert, delete or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal.saturating_add(usize::from(x != *y));
            diagonal = *cell;
            left = replaced.min(diagonal.saturating_add(1)).min(left.saturating_add(1));
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_name_is_found() {
        let all = ["Conv2D", "Conv2DTranspose", "Dense", "DenseX", "LSTM", "ReLU"];
        let of = |name: &str| nearest(name, all.into_iter());
        assert_eq!(of("Con2d"), Some("Conv2D"));
        assert_eq!(of("pkg>MyConv2D"), Some("Conv2D"));
        assert_eq!(of("WeightedConv2DTranspose"), Some("Conv2DTranspose"));
        assert_eq!(of("Dens"), Some("Dense"));
        assert_eq!(of("TextVectorization"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
    }
}
