# stdout: *"mean"*
# stderr: *perceptual distance: not measured*
# What the tokenizer makes of two playground clips; what it kept measures the same without it.
$reelm eval video --world 2 --keep kept --sheet sheet.png --json >first.json || exit 1
[ -s kept/originals/playground-*/000.png ] || [ -n "$(ls kept/originals/*/016.png)" ] || exit 1
[ "$($reelm probe sheet.png --json | tr -dc '0-9x,' | grep -c 260)" -eq 1 ] || exit 1
$reelm eval video kept/originals --against kept/coded --json 2>/dev/null >second.json || exit 1
psnr() { sed -n '/"mean":/,/}/s/.*"psnr":[^0-9]*\([0-9.]*\),/\1/p' "$1" | head -1; }
[ -n "$(psnr first.json)" ] && [ "$(psnr first.json)" = "$(psnr second.json)" ] || exit 1
cat first.json
