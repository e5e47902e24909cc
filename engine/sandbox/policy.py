"""What the author's code may say: its syntax tree, checked and rewritten before it is compiled.

RestrictedPython refuses every kind of node it does not know, and turns reads and writes of attributes and items into
calls of guards. Added here: what people write that it refuses (augmented assignment, annotations, nonlocal, match).
What the guards then do is in `guards.py`. Iteration and star-arguments need no guard: objects that guards let through
are harmless to iterate.
"""

# ruff: noqa: N802, N815 (a visitor is named after the class of the nodes it visits)

import ast
from collections.abc import Collection, Container

from RestrictedPython.transformer import INSPECT_ATTRIBUTES, IOPERATOR_TO_STR, RestrictingNodeTransformer

from engine.sandbox.guards import words

# Methods with special names that a class may define; all are called by operators only, with the object as self.
METHODS = words(
    "__init__ __str__ __repr__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __hash__ __bool__ __len__ __contains__ "
    "__iter__ __next__ __getitem__ __call__ __enter__ __exit__ __add__ __sub__ __mul__ __truediv__ __neg__"
)
# Attributes with an underscore that may be read; the guard allows them on few types.
READABLE = frozenset(("__name__", "_asdict", "_replace", "_make", "_fields"))
# In a class pattern these look at the type only, never at attributes.
MATCHABLE = frozenset(("bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"))

WORDS = {
    "AsyncFunctionDef": "`async def`",
    "AsyncFor": "`async for`",
    "AsyncWith": "`async with`",
    "Await": "`await`",
    "TemplateStr": "A template string",
    "TryStar": "`except*`",
    "TypeAlias": "`type X = ...`",
    "TypeVar": "A type parameter",
}


class SourceError(Exception):
    """Source that is no Python, or says what code nodes may not say."""

    def __init__(self, message: str, *, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.hint = hint


class Policy(RestrictingNodeTransformer):
    """One walk over one tree. `problems` says all that is refused.

    Args:
        shared: names bound by the author's top level. It becomes a function, so `global` inside means `nonlocal`.
        modules: what may be imported. Another import is refused here, unless it is inside a `try`.
    """

    def __init__(self, shared: Container[str], modules: Collection[str]) -> None:
        super().__init__()
        self.problems: list[SourceError] = []
        self._shared = shared
        self._modules = modules
        self._functions = 0
        self._tries = 0

    def error(self, node: ast.AST, info: str, hint: str | None = None) -> None:
        self.problems.append(SourceError(info, line=getattr(node, "lineno", None), hint=hint))

    def not_allowed(self, node: ast.AST) -> None:
        kind = type(node).__name__
        self.error(node, f"{WORDS.get(kind, kind)} is not available in code nodes")

    # What RestrictedPython allows unseen, or rewrites for guards that we do not need.

    def visit_TemplateStr(self, node: ast.AST) -> None:
        self.not_allowed(node)

    def _keep(self, node: ast.AST) -> ast.AST:
        kept: ast.AST = self.node_contents_visit(node)
        return kept

    visit_Assign = visit_Call = visit_With = visit_For = visit_Module = _keep
    visit_MatchSingleton = visit_MatchSequence = visit_MatchOr = visit_Match = visit_match_case = _keep

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        if node.is_async:
            self.error(node.target, "`async for` is not available in code nodes")
        return self._keep(node)

    # Names

    def check_name(self, node: ast.AST, name: str | None, allow_magic_methods: bool = False) -> None:
        if name is None or not name.startswith("_") or name == "_":
            return
        if not (allow_magic_methods and name in METHODS):
            self.error(node, f"the name {name!r} starts with an underscore", "Such names are reserved: rename it.")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.check_name(node, node.id)
        return node

    def visit_Global(self, node: ast.Global) -> ast.stmt | list[ast.stmt]:
        for name in node.names:
            self.check_name(node, name)
        shared = [name for name in node.names if name in self._shared]
        if self._functions < 2 or not shared:
            return node
        statements: list[ast.stmt] = [ast.Nonlocal(names=shared)]
        if rest := [name for name in node.names if name not in shared]:
            statements.append(ast.Global(names=rest))
        return [ast.copy_location(statement, node) for statement in statements]

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    # Attributes

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        reads = isinstance(node.ctx, ast.Load)
        if not (reads and (node.attr in READABLE or _is_super_init(node))):
            self._check_attribute(node, node.attr)
        self.node_contents_visit(node)
        if reads:
            return _call("_getattr_", node.value, ast.Constant(node.attr), at=node)
        node.value = _call("_write_", node.value, ast.Constant(node.attr), at=node.value)
        return node

    def _check_attribute(self, node: ast.AST, name: str) -> None:
        if name.startswith("_"):
            self.error(node, f"the attribute {name!r} starts with an underscore", "Such attributes are internal.")
        elif name in INSPECT_ATTRIBUTES:
            self.error(node, f"the attribute {name!r} is not available in code nodes")

    # Statements

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        target = node.target
        # Annotations are never evaluated, as if by `from __future__ import annotations`.
        if node.value is None:
            self.check_name(node, target.id if isinstance(target, ast.Name) else None)
            return ast.copy_location(ast.Pass(), node)
        return self._keep(ast.copy_location(ast.Assign(targets=[target], value=node.value), node))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        """`a.b += c` with a evaluated once, b read through its guard and written through its guard."""
        target = node.target
        if isinstance(target, ast.Name):
            return self._keep(node)
        base = self.gen_tmp_name()
        statements: list[ast.stmt] = [ast.Assign([ast.Name(base, ast.Store())], self.visit(target.value))]
        load = ast.Name(base, ast.Load())
        place: ast.expr
        if isinstance(target, ast.Attribute):
            self._check_attribute(node, target.attr)
            old = _call("_getattr_", load, ast.Constant(target.attr), at=node)
            place = ast.Attribute(_call("_write_", load, ast.Constant(target.attr), at=node), target.attr, ast.Store())
        else:
            key = self.gen_tmp_name()
            statements.append(ast.Assign([ast.Name(key, ast.Store())], self.visit(target.slice)))
            old = _call("_getitem_", load, ast.Name(key, ast.Load()), at=node)
            place = ast.Subscript(_call("_write_", load, at=node), ast.Name(key, ast.Load()), ast.Store())
        operator = ast.Constant(IOPERATOR_TO_STR[type(node.op)])
        statements.append(ast.Assign([place], _call("_inplace_", operator, old, self.visit(node.value), at=node)))
        return [ast.fix_missing_locations(ast.copy_location(statement, node)) for statement in statements]

    def visit_Try(self, node: ast.Try) -> ast.AST:
        self._tries += 1
        kept = self._keep(node)
        self._tries -= 1
        return kept

    # Imports become assignments, so that nothing is read from a module but through our proxies.

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        statements: list[ast.stmt] = []
        for alias in node.names:
            self._check_import(node, alias.name)
            module = _call("_import_", ast.Constant(alias.name), at=node)
            top = alias.name.partition(".")[0]
            self.check_name(node, alias.asname or top)
            if alias.asname or top == alias.name:
                statements.append(_assign(alias.asname or top, module, at=node))
            else:
                statements.append(ast.copy_location(ast.Expr(module), node))
                statements.append(_assign(top, _call("_import_", ast.Constant(top), at=node), at=node))
        return statements

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | list[ast.stmt]:
        if node.module == "__future__":
            return ast.copy_location(ast.Pass(), node)
        if node.level or node.module is None:
            self.error(node, "a relative import leads nowhere in code nodes")
            return node
        self._check_import(node, node.module)
        statements: list[ast.stmt] = []
        for alias in node.names:
            if alias.name == "*":
                self.error(node, f"`from {node.module} import *` is not available", "Import the names you use.")
                continue
            self.check_name(node, alias.name)
            self.check_name(node, alias.asname)
            part = _call("_import_", ast.Constant(node.module), ast.Constant(alias.name), at=node)
            statements.append(_assign(alias.asname or alias.name, part, at=node))
        return statements

    def _check_import(self, node: ast.AST, module: str) -> None:
        if getattr(node, "is_lazy", 0):  # Python 3.15
            self.error(node, "a lazy import is not available in code nodes")
        if module not in self._modules and not self._tries:
            self.error(node, f"module {module!r} is not available in code nodes", available(self._modules))

    # Functions and classes

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.check_name(node, node.name, allow_magic_methods=node.col_offset > 0)
        self.check_function_argument_names(node)
        node.returns = None
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            argument.annotation = None
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                rest.annotation = None
        self._functions += 1
        kept = self._keep(node)
        self._functions -= 1
        return kept

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.check_name(node, node.name)
        if node.keywords:
            self.error(node, "a class takes no keywords in code nodes", "Leave out metaclass= and the like.")
        self.node_contents_visit(node)
        node.keywords = [ast.keyword("metaclass", ast.Name("__metaclass__", ast.Load()))]
        return node

    # Patterns: values are constants, since a dotted name would be read past the guards.

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:
        value = node.value.operand if isinstance(node.value, ast.UnaryOp) else node.value
        if not isinstance(value, ast.Constant):
            self.error(node, "a pattern may hold constants only", "Compare with `if` instead.")
        return node

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        known = isinstance(node.cls, ast.Name) and node.cls.id in MATCHABLE
        if not known or node.kwd_attrs or len(node.patterns) > 1:
            self.error(node, "a class pattern may name a built-in type only", "Use isinstance() for other classes.")
        return self._keep(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> ast.AST:
        self.check_name(node, node.name)
        return self._keep(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        if not all(isinstance(key, ast.Constant) for key in node.keys):
            self.error(node, "a pattern may hold constants only", "Compare with `if` instead.")
        self.check_name(node, node.rest)
        return self._keep(node)


def available(modules: Collection[str]) -> str:
    """The hint that lists what may be imported."""
    return f"Available: {', '.join(sorted(modules))}."


def _is_super_init(node: ast.Attribute) -> bool:
    call = node.value
    return (
        node.attr == "__init__"
        and isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "super"
    )


def _call(guard: str, *arguments: ast.expr, at: ast.expr | ast.stmt) -> ast.Call:
    call = ast.Call(ast.Name(guard, ast.Load()), list(arguments), [])
    return ast.fix_missing_locations(ast.copy_location(call, at))


def _assign(name: str, value: ast.expr, *, at: ast.stmt) -> ast.stmt:
    return ast.fix_missing_locations(ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), at))
