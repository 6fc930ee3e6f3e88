use super::*;

fn refusal(options: &str, item: &str) -> String {
    let parse = |text: &str| text.parse::<TokenStream>().unwrap();
    match expand(parse(options), parse(item)) {
        Ok(expanded) => panic!("it was taken: {expanded}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_can_not_be_a_task_is_refused_with_what_to_do() {
    for (item, said) in [
        ("struct S;", "#[task] goes on a function"),
        ("fn f<T>(x: T) -> T { x }", "write one task for each type"),
        ("fn f<'a>(x: u8) {}", "can't be generic"),
        ("fn f(x: impl Into<u8>) {}", "name the argument's type"),
        ("fn f(&self) {}", "can't be a method"),
        ("unsafe fn f() {}", "can't be unsafe"),
        ("const fn f() {}", "can't be const"),
        ("extern \"C\" fn f() {}", "a Rust function"),
        ("fn f(x: &str) {}", "`String` for `&str`"),
        ("fn f() -> &'static str { \"\" }", "return an owned value"),
        ("fn f() -> impl Iterator<Item = u8> { None.into_iter() }", "name a type that serde can encode"),
        ("fn f(x: u8, context: &TaskContext) {}", "the context is a task's first parameter"),
        ("fn f(context: &mut TaskContext) {}", "borrowed as `&TaskContext`"),
    ] {
        let refusal = refusal("", item);
        assert!(refusal.contains(said), "{item}: {refusal}");
    }
    assert!(refusal("retries = 3", "fn f() {}").contains("takes no options"));
}

#[test]
fn what_can_be_a_task_is_taken() {
    for item in [
        "fn f() {}",
        "pub fn f(context: &convoke::task::TaskContext, (a, b): (u8, u8), _: String) -> Result<u8, String> { Ok(a + b) }",
        "async fn f(context: &TaskContext, mut x: Vec<u8>) -> u64 { 0 }",
        "#[cfg(unix)] /// Documented.\n #[inline] fn f(Point { x, y }: Point) -> u64 { x * y }",
    ] {
        let expanded = expand(TokenStream::new(), item.parse().unwrap()).unwrap().to_string();
        syn::parse_str::<syn::File>(&expanded).unwrap();
        assert!(expanded.contains("struct f"), "{expanded}");
    }
}
