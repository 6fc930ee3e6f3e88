//! The attribute macros of convoke. Use them through `convoke`, which re-exports them.

mod task;

use proc_macro::TokenStream;

/// Registers a function as a task: executors can run it by its name, and it stays a plain function to call.
///
/// ```text
/// #[convoke::task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// #[convoke::task]
/// fn divide(a: u64, b: u64) -> Result<u64, String> {
///     a.checked_div(b).ok_or_else(|| "division by zero".to_owned())
/// }
///
/// #[convoke::task]
/// async fn slowly(context: &TaskContext, text: String) -> usize {
///     text.len()
/// }
/// ```
///
/// * Arguments are owned and encoded by serde; several are a tuple for the caller: `driver.submit(divide, (6, 3))`.
/// * A first parameter `&TaskContext` is the task's context. An `async fn` borrows nothing else.
/// * A return type that is written `Result<…>` (any alias of `Result` whose name is that, too) makes an `Err` fail the
///   attempt. The error implements serde's traits and `Display`. Anything else is a value.
/// * A plain function runs on a slot's thread and may block. An `async fn` takes a slot too, and runs on a tokio runtime.
/// * It is registered as `module::path::name`: two of one name are an error when the driver starts.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(attribute.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
