"""The author's source as a function: parsed, held against the policy, compiled."""

import ast
import sys
from collections.abc import Collection, Sequence
from copy import deepcopy
from types import CodeType
from typing import NamedTuple

from engine.sandbox.policy import Policy, SourceError

FILENAME = "<code>"
LONGEST_SOURCE = 256 * 1024  # characters
DEEPEST_SYNTAX = 5000  # Python frames for walking the tree: some 1000 levels of nesting


class Program(NamedTuple):
    """Compiled source: run in the guards' namespace it defines the function `code`.

    Attributes:
        reads_frame: whether the function wants the items as a DataFrame in `df`.
    """

    code: CodeType
    reads_frame: bool


def compile_source(source: str, arguments: Sequence[str], modules: Collection[str]) -> Program:
    """The source as the body of a function of these arguments, which returns the first one at its end.

    Args:
        modules: what may be imported.

    Raises:
        SourceError: the first thing that is wrong.
    """
    if len(source) > LONGEST_SOURCE:
        raise SourceError(f"the code is longer than {LONGEST_SOURCE // 1024} KiB")
    usual_depth = sys.getrecursionlimit()
    try:
        body = ast.parse(source.removeprefix("\ufeff"), FILENAME).body
        reads_frame = _reads_frame(body)
        module = _as_function(body, arguments)
        policy = Policy(_shared_names(module), modules)
        # Only for the walk, which is Python: in the compiler the same limit guards the stack of C.
        sys.setrecursionlimit(DEEPEST_SYNTAX)
        module = ast.fix_missing_locations(policy.visit(module))
        sys.setrecursionlimit(usual_depth)
        if policy.problems:
            raise min(policy.problems, key=lambda problem: problem.line or 0)
        return Program(compile(module, FILENAME, "exec", dont_inherit=True), reads_frame)
    except SyntaxError as error:
        raise SourceError(f"SyntaxError: {error.msg}", line=error.lineno, hint=_shown(error.text)) from None
    except ValueError as error:  # null bytes, half of a surrogate pair
        raise SourceError(f"SyntaxError: {error}") from None
    except (RecursionError, MemoryError):
        raise SourceError("SyntaxError: the code is nested too deeply") from None
    finally:
        sys.setrecursionlimit(usual_depth)


def _reads_frame(body: list[ast.stmt]) -> bool:
    """Whether the code reads `df` before it has made one of its own."""
    for statement in body:
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == "df"]
        if names:
            return not (isinstance(statement, ast.Assign) and all(isinstance(name.ctx, ast.Store) for name in names))
    return False


def _as_function(body: list[ast.stmt], arguments: Sequence[str]) -> ast.Module:
    # Grafted, not indented as text: that would change strings over several lines, and all line numbers.
    end = ast.Return(ast.Name(arguments[0], ast.Load()))
    if body:
        ast.copy_location(end, body[-1])
    names = [ast.arg(name) for name in arguments]
    function = ast.FunctionDef(
        name="code",
        args=ast.arguments(posonlyargs=[], args=names, kwonlyargs=[], kw_defaults=[], defaults=[]),
        body=[*body, end],
        decorator_list=[],
        lineno=1,
        col_offset=0,
    )
    if sys.version_info >= (3, 12):
        function.type_params = []
    return ast.fix_missing_locations(ast.Module([function], []))


class _AsGenerators(ast.NodeTransformer):
    """Comprehensions as generators: since Python 3.12 the names of the former are among the function's (PEP 709)."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.GeneratorExp(node.elt, node.generators), node)

    visit_SetComp = visit_ListComp  # noqa: N815  the name that ast calls

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        self.generic_visit(node)
        pair = ast.Tuple([node.key, node.value], ast.Load())
        return ast.copy_location(ast.GeneratorExp(pair, node.generators), node)


def _shared_names(module: ast.Module) -> frozenset[str]:
    """The names bound by the function's own scope: the compiler knows best. Nothing of this is ever run."""
    if not any(isinstance(node, ast.Global) for node in ast.walk(module)):
        return frozenset()
    plain = ast.fix_missing_locations(_AsGenerators().visit(deepcopy(module)))
    outer = compile(plain, FILENAME, "exec", dont_inherit=True)
    code = next(constant for constant in outer.co_consts if isinstance(constant, CodeType))
    return frozenset(code.co_varnames + code.co_cellvars)


def _shown(line: str | None) -> str | None:
    text = (line or "").strip()
    return f"Look at: {text[:80]}" if text else None
