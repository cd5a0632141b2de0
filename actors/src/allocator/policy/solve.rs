//! Small systems of linear equations.

use super::fraction::Number;

/// The solution of `rows x = right`, by elimination with the largest pivot; none when there is not exactly one, or when a
/// number outgrows its kind. `rows` is square. Costs the cube of its side.
pub(super) fn solve<N: Number>(mut rows: Vec<Vec<N>>, mut right: Vec<N>) -> Option<Vec<N>> {
    let side = rows.len();
    for column in 0..side {
        let size = |row: &Vec<N>| row[column].float().abs();
        let pivot = (column..side).reduce(|one, two| if size(&rows[two]) > size(&rows[one]) { two } else { one })?;
        if rows[pivot][column] == N::zero() {
            return None;
        }
        rows.swap(column, pivot);
        right.swap(column, pivot);
        for below in column + 1..side {
            let factor = rows[below][column].over(rows[column][column]).ok()?;
            if factor == N::zero() {
                continue;
            }
            let (above, rest) = rows.split_at_mut(below);
            for (cell, over) in rest[0].iter_mut().zip(&above[column]).skip(column) {
                *cell = cell.minus(factor.times(*over).ok()?).ok()?;
            }
            right[below] = right[below].minus(factor.times(right[column]).ok()?).ok()?;
        }
    }
    for row in (0..side).rev() {
        for at in row + 1..side {
            right[row] = right[row].minus(rows[row][at].times(right[at]).ok()?).ok()?;
        }
        right[row] = right[row].over(rows[row][row]).ok()?;
    }
    Some(right)
}
