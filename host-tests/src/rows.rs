//! The macro [`rows!`](crate::rows).

/// Declares a module of tests, one for each row: `row: arguments;` becomes the test `row`, which calls the function
/// with these arguments. The function returns a `Result`.
///
/// ```
/// fn is_even(number: u32) -> Result<(), String> {
///     number.is_multiple_of(2).then_some(()).ok_or(format!("{number} is odd"))
/// }
///
/// host_tests::rows! {
///     even_numbers: is_even;
///     zero: 0;
///     two: 2;
/// }
/// ```
#[macro_export]
macro_rules! rows {
    ($module:ident: $function:ident; $($row:ident: $($argument:expr),+;)+) => {
        mod $module {
            use super::*;

            $(
                #[test]
                fn $row() -> ::anyhow::Result<()> {
                    $function($($argument),+)
                }
            )+
        }
    };
}
