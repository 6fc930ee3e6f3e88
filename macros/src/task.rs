use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, ItemFn, Pat, Result, ReturnType, Type};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(attribute, "#[task] takes no options"));
    }
    let function: ItemFn = syn::parse2(item)
        .map_err(|error| Error::new(error.span(), format!("#[task] goes on a function: {error}")))?;
    refuse(&function)?;
    let Parameters { context, inputs } = parameters(&function)?;

    let name = &function.sig.ident;
    let visibility = &function.vis;
    let body_name = format_ident!("__convoke_body_of_{}", name);
    let (documentation, others): (Vec<&Attribute>, Vec<&Attribute>) =
        function.attrs.iter().partition(|attribute| attribute.path().is_ident("doc"));
    let (conditions, others): (Vec<&Attribute>, Vec<&Attribute>) =
        others.into_iter().partition(|attribute| attribute.path().is_ident("cfg"));

    let types = inputs;
    let input = match types.as_slice() {
        [one] => quote!(#one),
        many => quote!((#(#many,)*)),
    };
    let names: Vec<_> = (0..types.len()).map(|index| format_ident!("argument_{}", index)).collect();
    let pattern = match names.as_slice() {
        [one] => quote!(#one),
        many => quote!((#(#many,)*)),
    };
    let output = match &function.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => quote!(#output),
    };
    let returns_result = matches!(&function.sig.output, ReturnType::Type(_, output) if is_result(output));
    let is_async = function.sig.asyncness.is_some();

    let (value, error) = if returns_result {
        let span = function.sig.output.span();
        (
            quote_spanned!(span=> <#output as ::convoke::task::expansion::Fallible>::Value),
            quote_spanned!(span=> <#output as ::convoke::task::expansion::Fallible>::Error),
        )
    } else {
        (quote!(#output), quote!(::convoke::task::Never))
    };

    let context_type = context.then(|| quote!(&::convoke::task::TaskContext,));
    let pass_context = context.then(|| quote!(context,));
    let permanent = quote! {
        |error| {
            #[allow(unused_imports)]
            use ::convoke::task::expansion::probe::{DoesNotKnow as _, Knows as _, Probe};
            (&Probe(error)).permanent()
        }
    };
    let target = if is_async && context {
        quote! {
            for<'context> fn(&'context ::convoke::task::TaskContext, #(#types),*)
                -> ::std::pin::Pin<::std::boxed::Box<dyn ::std::future::Future<Output = #output> + ::std::marker::Send + 'context>>
        }
    } else if is_async {
        quote! {
            fn(#(#types),*)
                -> ::std::pin::Pin<::std::boxed::Box<dyn ::std::future::Future<Output = #output> + ::std::marker::Send>>
        }
    } else {
        quote!(fn(#context_type #(#types),*) -> #output)
    };
    let callable = if is_async {
        let (lifetime, context_parameter) = if context {
            (quote!('context,), quote!(context: &'context ::convoke::task::TaskContext,))
        } else {
            (quote!(), quote!())
        };
        let (generics, bound) =
            if context { (quote!(<'context>), quote!(+ 'context)) } else { (quote!(), quote!()) };
        let _ = lifetime;
        quote! {
            fn boxed #generics (#context_parameter #(#names: #types),*)
                -> ::std::pin::Pin<::std::boxed::Box<dyn ::std::future::Future<Output = #output> + ::std::marker::Send #bound>>
            {
                ::std::boxed::Box::pin(#body_name(#pass_context #(#names),*))
            }
            const FUNCTION: #target = boxed;
        }
    } else {
        quote!(const FUNCTION: #target = #body_name;)
    };

    let code = match (is_async, returns_result) {
        (false, false) => quote! {
            ::convoke::task::expansion::Code::Sync(|argument, context, output| {
                let _ = context;
                ::convoke::task::expansion::run_infallible(argument, output, |#pattern: #input| {
                    #body_name(#pass_context #(#names),*)
                })
            })
        },
        (false, true) => quote! {
            ::convoke::task::expansion::Code::Sync(|argument, context, output| {
                let _ = context;
                ::convoke::task::expansion::run_fallible(
                    argument,
                    output,
                    |#pattern: #input| #body_name(#pass_context #(#names),*),
                    #permanent,
                )
            })
        },
        (true, _) => {
            let start = if context {
                quote!(async move { let context = &context; #body_name(context, #(#names),*).await })
            } else {
                quote!({ let _ = context; #body_name(#(#names),*) })
            };
            let finish = if returns_result {
                quote!(|output, into| ::convoke::task::expansion::finish_fallible(output, into, #permanent))
            } else {
                quote!(|output, into| ::convoke::task::expansion::finish_infallible(&output, into))
            };
            quote! {
                ::convoke::task::expansion::Code::Async(|argument, context| {
                    ::convoke::task::expansion::run_async(argument, |#pattern: #input| #start, #finish)
                })
            }
        }
    };

    let mut body = function.clone();
    body.sig.ident = body_name.clone();
    body.vis = syn::Visibility::Inherited;
    body.attrs = others.into_iter().cloned().collect();
    let text = name.to_string();

    Ok(quote! {
        #(#conditions)*
        #[doc(hidden)]
        #[allow(clippy::unused_async, clippy::needless_pass_by_value)]
        #body

        #(#conditions)*
        #(#documentation)*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #name;

        #(#conditions)*
        const _: () = {
            impl ::convoke::task::TaskFunction for #name {
                type Input = #input;
                type Output = #value;
                type Error = #error;
                const NAME: &'static str = ::std::concat!(::std::module_path!(), "::", #text);
            }

            #callable

            impl ::std::ops::Deref for #name {
                type Target = #target;
                fn deref(&self) -> &'static Self::Target {
                    &FUNCTION
                }
            }

            ::convoke::task::expansion::inventory::submit! {
                ::convoke::task::expansion::Registration {
                    name: <#name as ::convoke::task::TaskFunction>::NAME,
                    code: #code,
                    location: ::std::concat!(::std::file!(), ":", ::std::line!()),
                }
            }
        };
    })
}

fn refuse(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        return Err(Error::new_spanned(
            &signature.generics,
            "a task can't be generic: executors find it by its name alone; write one task for each type, calling the generic \
             function",
        ));
    }
    if let Some(token) = &signature.unsafety {
        return Err(Error::new(token.span, "a task can't be unsafe: its caller is another process"));
    }
    if let Some(token) = &signature.constness {
        return Err(Error::new(token.span, "a task can't be const"));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(abi, "a task is a Rust function"));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new_spanned(variadic, "a task has a fixed number of arguments"));
    }
    if let ReturnType::Type(_, output) = &signature.output {
        if let Type::ImplTrait(output) = output.as_ref() {
            return Err(Error::new_spanned(
                output,
                "a task's value travels to another process: name a type that serde can encode",
            ));
        }
        if let Type::Reference(output) = output.as_ref() {
            return Err(Error::new_spanned(
                output,
                "a task's value travels to another process: return an owned value",
            ));
        }
    }
    Ok(())
}

struct Parameters<'a> {
    context: bool,
    inputs: Vec<&'a Type>,
}

fn parameters(function: &ItemFn) -> Result<Parameters<'_>> {
    let mut context = false;
    let mut inputs = Vec::new();
    for (index, parameter) in function.sig.inputs.iter().enumerate() {
        let parameter = match parameter {
            FnArg::Receiver(receiver) => {
                return Err(Error::new_spanned(
                    receiver,
                    "a task can't be a method: make it a function, and pass what it needs as an argument",
                ));
            }
            FnArg::Typed(parameter) => parameter,
        };
        match parameter.ty.as_ref() {
            Type::Reference(reference) if is_context(&reference.elem) => {
                if index > 0 {
                    return Err(Error::new_spanned(parameter, "the context is a task's first parameter"));
                }
                if let Some(mutability) = &reference.mutability {
                    return Err(Error::new(mutability.span, "the context is borrowed as `&TaskContext`"));
                }
                context = true;
            }
            Type::Reference(reference) => {
                return Err(Error::new_spanned(
                    reference,
                    "a task's arguments come from another process: take an owned value (`String` for `&str`, `Vec<T>` for `&[T]`)",
                ));
            }
            Type::ImplTrait(argument) => {
                return Err(Error::new_spanned(
                    argument,
                    "a task can't be generic: name the argument's type",
                ));
            }
            owned => {
                if let Pat::Wild(_) | Pat::Ident(_) | Pat::Tuple(_) | Pat::TupleStruct(_) | Pat::Struct(_) =
                    parameter.pat.as_ref()
                {
                    inputs.push(owned);
                } else {
                    return Err(Error::new_spanned(&parameter.pat, "name this parameter"));
                }
            }
        }
    }
    Ok(Parameters { context, inputs })
}

fn is_context(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "TaskContext"))
}

fn is_result(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result"))
}

#[cfg(test)]
#[path = "task_test.rs"]
mod tests;
