# exit: 3
# stderr: *tokenizer*
# stderr: one line
$reelm generate --frames 1 --size 32x32 -s 5 -q --no-audio --save-tokens a.rtok -o a.png
python3 - <<'P'
d = open('a.rtok', 'rb').read()
i = d.index(b'video_tokenizer')
j = d.index(b'":"', i) + 3
d = d[:j] + (b'0' if d[j:j+1] != b'0' else b'1') + d[j+1:]
open('b.rtok', 'wb').write(d)
P
$reelm decode b.rtok -o b.png
