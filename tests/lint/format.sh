#!/bin/sh
# clang-format has nothing to change. Skipped (77) where the tool is absent or is not version 14,
# whose choices differ from those of later ones.
cd "$(dirname "$0")/../.." || exit 1
tool=$(command -v clang-format-14 || command -v clang-format) || {
    echo "skipped: no clang-format"
    exit 77
}
case $("$tool" --version) in
*"version 14."*) ;;
*)
    echo "skipped: $("$tool" --version), the tree is formatted with 14"
    exit 77
    ;;
esac
find src prompts tokenizers model tests -name '*.[ch]' -o -name '*.cc' | sort |
    xargs "$tool" --dry-run -Werror
