"""Numbers of things in words, as every message and page writes them."""


def count(times: int, noun: str) -> str:
    """`1 run`, `3 runs`, `1,980 runs`."""
    return f"{times:,} {plural(times, noun)}"


def plural(times: int, noun: str) -> str:
    """`runs` or `studies`, unless it is one."""
    if times == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
