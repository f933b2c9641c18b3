//! Table of cases, one named test a row.

/// Declares a module of tests, one for each row: `row: arguments;` becomes the test `module::row`, which calls the
/// function with these arguments. The function returns `anyhow::Result<()>`.
///
/// ```
/// use anyhow::{Result, ensure};
///
/// host_tests::rows! {
///     even_numbers: check_even;
///     zero: 0;
///     two: 2;
/// }
///
/// fn check_even(number: u32) -> Result<()> {
///     ensure!(number.is_multiple_of(2), "{number} is odd");
///     Ok(())
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
