"""Just enough reading of C++ for tests/tidy: code without comments, and where functions lie."""

import re

TOKEN = re.compile(
    r'//[^\n]*'
    r'|/\*.*?\*/'
    r'|R"(?P<mark>[^()\s\\]{0,16})\(.*?\)(?P=mark)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'",
    re.DOTALL)
ACCESS = re.compile(r"\b(public|private|protected)\s*:(?!:)")
SCOPE = re.compile(r"\s*(inline\s+|typedef\s+)*(namespace|class|struct|union|enum|extern)\b")


def code_only(text):
    """The text with comments and literals blanked; line numbers stay as they are."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])

    lines = text.split("\n")
    # An include's quotes are no literal that matters, and must stay readable to callers.
    includes = {i: line for i, line in enumerate(lines) if line.lstrip().startswith("#include")}
    lines = TOKEN.sub(blank, text).split("\n")
    for number, line in includes.items():
        lines[number] = line
    return "\n".join(lines)


def without_preprocessor(code):
    """Blanks directives, with their continuation lines."""
    return re.sub(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m[0]), code)


def without_template(head):
    """Drops a leading `template <...>`, whose `class T` names no class."""
    while True:
        match = re.match(r"\s*template\s*<", head)
        if not match:
            return head
        depth, end = 1, match.end()
        while end < len(head) and depth:
            depth += {"<": 1, ">": -1}.get(head[end], 0)
            end += 1
        head = head[end:]


def block_kind(head, inside):
    """What the brace after `head` opens: a scope, a function, or something within or beside one."""
    if "function" in inside:
        return "inner"
    head = without_template(ACCESS.sub(" ", head))
    if SCOPE.match(head):
        return "scope"
    return "function" if "(" in head else "inner"


def function_bodies(code):
    """Yields (first line, last line) of every function that is not inside another.

    A function begins at the first line of its signature. `code` comes from code_only().
    """
    code = without_preprocessor(code)
    stack = []  # (kind, where its head starts)
    start = 0   # where the head of the next block starts
    for match in re.finditer(r"[{};]", code):
        at = match.start()
        if match[0] == ";":
            start = at + 1 if not stack or stack[-1][0] == "scope" else start
        elif match[0] == "{":
            stack.append((block_kind(code[start:at], [kind for kind, _ in stack]), start))
            start = at + 1
        elif stack:
            kind, head = stack.pop()
            following = code[at + 1:at + 200].lstrip()[:1]
            if following in (",", "{") and (not stack or stack[-1][0] == "scope"):
                start = head  # a member initialiser: the function's body is still to come
                continue
            start = at + 1
            if kind == "function":
                begin = head + len(code[head:]) - len(code[head:].lstrip())
                yield code.count("\n", 0, begin) + 1, code.count("\n", 0, at) + 1
