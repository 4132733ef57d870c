# stdout: 0 1 2 3 7 8 2 3*
# Seeds of a batch: one after the other from the first on, 0 too; a line's own counts for its copies.
seeds() { $reelm generate -b 2 --dry-run --json "$@" | sed -n 's/.*"seed":[[:space:]]*\([0-9]*\),.*/\1/p' | tr '\n' ' '; }
seeds -s 0 -p ball -o 'x%d.png'
printf '# two lines\n\nball\n{"prompt": "cube", "seed": 7}\n' >list
seeds -s 2 --prompts-file list -o 'x%d.png'
printf '{"prompt": "cube", "frames": 5}\n' >list
seeds -s 2 --prompts-file list -o 'x%d.png'
