//! Reads the production code of a crate: its modules, what each defines, and every path that each names.
//!
//! Test modules and all that `#[cfg(test)]` marks are left out. Macros are read as tokens, so a path in `format!` counts.
//! Expanding macros, and telling which type's method a call is, is the compiler's: neither is done here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, Meta, Token, UseTree, Visibility,
    ext::IdentExt as _,
    punctuated::Punctuated,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// A module's place in [`Tree::modules`].
pub(super) type ModuleId = usize;

/// The modules of one compilation root (`lib.rs`, `main.rs`); the first is the root.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) modules: Vec<Module>,
}

/// A module: a file, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Relative to the workspace.
    pub(super) file: PathBuf,
    pub(super) parent: Option<ModuleId>,
    pub(super) children: BTreeMap<String, ModuleId>,
    /// What it defines itself.
    pub(super) items: BTreeSet<String>,
    pub(super) uses: Vec<Use>,
    pub(super) paths: Vec<Named>,
    /// Methods that are called without arguments: how programs are run.
    pub(super) calls: Vec<Named>,
}

/// One name of a `use`.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    /// What it is called here; `*` for all of a module.
    pub(super) alias: String,
    /// It only passes the name on.
    pub(super) is_export: bool,
    pub(super) line: usize,
}

/// A path and where it is named.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

/// Reads the modules that start at `root/file`.
///
/// # Errors
/// A file cannot be read or parsed, or a declared module has none.
pub(super) fn read(root: &Path, file: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let directory = file.parent().unwrap_or(Path::new("")).to_owned();
    read_file(root, file, &directory, None, &mut tree)?;
    Ok(tree)
}

/// `directory` is where the module's children have their files.
fn read_file(
    root: &Path,
    file: &Path,
    directory: &Path,
    parent: Option<ModuleId>,
    tree: &mut Tree,
) -> Result<ModuleId> {
    let text = fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
    let parsed = syn::parse_file(&text)
        .map_err(|error| anyhow::anyhow!("cannot parse {}:{}: {error}", file.display(), error.span().start().line))?;
    read_items(root, file, directory, parent, &parsed.items, tree)
}

fn read_items(
    root: &Path,
    file: &Path,
    directory: &Path,
    parent: Option<ModuleId>,
    items: &[Item],
    tree: &mut Tree,
) -> Result<ModuleId> {
    let mut module = Module {
        file: file.to_owned(),
        parent,
        ..Module::default()
    };
    for item in items.iter().filter(|item| !is_test(attributes(item))) {
        if let Some(name) = name(item) {
            module.items.insert(name);
        }
        Reader { module: &mut module }.visit_item(item);
    }
    let id = tree.modules.len();
    tree.modules.push(module);
    for item in items.iter().filter(|item| !is_test(attributes(item))) {
        let Item::Mod(declared) = item else { continue };
        let name = declared.ident.unraw().to_string();
        let inner = directory.join(&name);
        let child = match &declared.content {
            Some((_, items)) => read_items(root, file, &inner, Some(id), items, tree)?,
            None => {
                let flat = directory.join(format!("{name}.rs"));
                let file = if root.join(&flat).is_file() {
                    flat
                } else {
                    inner.join("mod.rs")
                };
                read_file(root, &file, &inner, Some(id), tree)?
            }
        };
        if let Some(module) = tree.modules.get_mut(id) {
            module.children.insert(name, child);
        }
    }
    Ok(id)
}

/// Collects what one module names.
struct Reader<'a> {
    module: &'a mut Module,
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        // Modules are read one by one.
        if !is_test(attributes(item)) && !matches!(item, Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_test(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !is_test(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_test(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut path = Vec::new();
        if item.leading_colon.is_some() {
            path.push(String::new());
        }
        let is_export = !matches!(item.vis, Visibility::Inherited);
        flatten(&item.tree, &path, is_export, &mut self.module.uses);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.module.paths.push(Named {
            path: path
                .segments
                .iter()
                .map(|segment| segment.ident.unraw().to_string())
                .collect(),
            line: path.span().start().line,
        });
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.args.is_empty() {
            self.module.calls.push(Named {
                path: vec![call.method.to_string()],
                line: call.method.span().start().line,
            });
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            Meta::List(list) => self.scan(list.tokens.clone()),
            // Only documentation has this form here.
            Meta::NameValue(_) | Meta::Path(_) => {}
        }
    }
}

impl Reader<'_> {
    /// Finds paths in tokens that nothing here can parse.
    fn scan(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        // How many colons, or a dot, came last.
        let mut colons = 0;
        let mut is_member = false;
        loop {
            let token = tokens.next();
            match &token {
                Some(TokenTree::Ident(ident)) => {
                    if colons != 2 {
                        self.end(&mut path, line);
                        line = ident.span().start().line;
                    }
                    if !is_member {
                        path.push(ident.unraw().to_string());
                    }
                    (colons, is_member) = (0, false);
                }
                Some(TokenTree::Punct(punct)) if punct.as_char() == ':' && !path.is_empty() && colons < 2 => {
                    colons += 1;
                }
                other => {
                    self.end(&mut path, line);
                    colons = 0;
                    is_member = matches!(other, Some(TokenTree::Punct(punct)) if punct.as_char() == '.');
                    match other {
                        Some(TokenTree::Group(group)) => self.scan(group.stream()),
                        // serde names functions in texts.
                        Some(TokenTree::Literal(literal)) => self.text(literal),
                        Some(_) => {}
                        None => return,
                    }
                }
            }
        }
    }

    fn text(&mut self, literal: &proc_macro2::Literal) {
        let text = literal.to_string();
        if let Ok(path) = syn::parse_str::<syn::Path>(text.trim_matches('"'))
            && path.segments.len() > 1
        {
            self.module.paths.push(Named {
                path: path.segments.iter().map(|segment| segment.ident.to_string()).collect(),
                line: literal.span().start().line,
            });
        }
    }

    fn end(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.module.paths.push(Named {
                path: std::mem::take(path),
                line,
            });
        }
    }
}

fn flatten(tree: &UseTree, before: &[String], is_export: bool, uses: &mut Vec<Use>) {
    let joined = |name: &str| [before, &[name.to_owned()]].concat();
    let mut add = |path: Vec<String>, alias: String, line: usize| {
        uses.push(Use {
            path,
            alias,
            is_export,
            line,
        });
    };
    let simple = |name: &str| match (name, before.last()) {
        ("self", Some(last)) => (before.to_vec(), last.clone()),
        _ => (joined(name), name.to_owned()),
    };
    match tree {
        UseTree::Path(part) => flatten(&part.tree, &joined(&part.ident.unraw().to_string()), is_export, uses),
        UseTree::Name(part) => {
            let (path, alias) = simple(&part.ident.unraw().to_string());
            add(path, alias, part.ident.span().start().line);
        }
        UseTree::Rename(part) => {
            let (path, _) = simple(&part.ident.unraw().to_string());
            add(path, part.rename.unraw().to_string(), part.ident.span().start().line);
        }
        UseTree::Glob(part) => add(before.to_vec(), "*".to_owned(), part.star_token.span().start().line),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, is_export, uses);
            }
        }
    }
}

fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.unraw().to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether code is only there for tests.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => attribute
            .parse_args()
            .is_ok_and(|condition: Meta| needs_test(&condition)),
        _ => false,
    })
}

fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|conditions| conditions.iter().any(needs_test)),
        _ => false,
    }
}
