//! Mutants of JSON that stay JSON.

use super::mutate::Leaf;
use crate::support::Rng;
use serde_json::{Map, Value};

fn count(v: &Value) -> usize {
    1 + match v {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Value `n` in the order of the text.
fn find<'a>(v: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
    if *n == 0 {
        return Some(v);
    }
    *n -= 1;
    let inner: Vec<&mut Value> = match v {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => Vec::new(),
    };
    for v in inner {
        let size = count(v);
        if *n < size {
            return find(v, n);
        }
        *n -= size;
    }
    None
}

/// Changes one to three values.
pub fn mutate(root: &mut Value, rng: &mut Rng, leaf: Leaf<'_>) {
    for _ in 0..rng.range(1, 3) {
        let all = count(root);
        let other = find(root, &mut rng.below(all)).map(|v| v.clone()).filter(|v| count(v) < 500);
        let Some(v) = find(root, &mut rng.below(all)) else { return };
        match (rng.below(4), other) {
            (0, Some(other)) => *v = other,
            _ => change(v, rng, leaf),
        }
    }
}

fn change(v: &mut Value, rng: &mut Rng, leaf: Leaf<'_>) {
    match v {
        Value::Null => *v = rng.pick(&[Value::Bool(true), Value::from(1)].each_ref()).clone(),
        Value::Bool(b) => *b = !*b,
        Value::Number(n) => {
            let x = n.as_f64().unwrap_or(0.0);
            *v = match rng.below(10) {
                0 => Value::from(rng.pick(&[-1i64, 0, 1, 2, 1 << 31, 1 << 53, i64::MAX, i64::MIN])),
                1 => Value::from(u64::MAX),
                2 => Value::from(1e300),
                3 => Value::from(-x),
                4 => Value::from(x + 0.5),
                5 => Value::Null,
                6 => Value::from((x as i64).wrapping_mul(2)),
                _ => Value::from(rng.below(16)),
            }
        }
        Value::String(s) => {
            let mut bytes = std::mem::take(s).into_bytes();
            leaf(&mut bytes);
            *s = String::from_utf8_lossy(&bytes).into_owned();
        }
        Value::Array(list) => {
            let i = rng.below(list.len());
            match rng.below(5) {
                0 => list.clear(),
                1 if !list.is_empty() => drop(list.remove(i)),
                2 if !list.is_empty() => {
                    let to = rng.below(list.len());
                    list.swap(i, to);
                }
                3 => *v = list.pop().unwrap_or(Value::Null),
                _ => list.extend(list.get(i).cloned()),
            }
        }
        Value::Object(map) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let Some(key) = keys.get(rng.below(keys.len())).cloned() else { return };
            match rng.below(5) {
                0 => drop(map.shift_remove(&key)),
                1 => {
                    let value = map.get(&key).cloned().unwrap_or_default();
                    map.insert(keys[rng.below(keys.len())].clone(), value);
                }
                2 => {
                    let value = map.shift_remove(&key).unwrap_or_default();
                    let mut bytes = key.into_bytes();
                    leaf(&mut bytes);
                    map.insert(String::from_utf8_lossy(&bytes).into_owned(), value);
                }
                3 => *v = Value::Array(vec![v.take()]),
                _ => *v = Value::Object(Map::from_iter([(key, v.take())])),
            }
        }
    }
}
