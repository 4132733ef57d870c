# A click at half a second is there in every container, for ffmpeg and for ourselves: to 5 ms.
command -v python3 >/dev/null || exit 0
ffmpeg -v error -f lavfi -i testsrc2=size=32x32:rate=8:duration=2 -f lavfi -i "aevalsrc=if(between(t\,0.5\,0.51)\,sin(2764*t)\,0):s=16000:d=2" \
  -c:v ffv1 -c:a pcm_f32le tick.avi || exit 99
cat >click.py <<'END'
import struct, sys
pcm = sys.stdin.buffer.read()
heard = next((i for i, (x,) in enumerate(struct.iter_unpack("<h", pcm)) if abs(x) > 9000), -1) / 16000
print(f"heard at {heard:.4f} s")
sys.exit(abs(heard - 0.5) > 0.005)
END
for name in mp4 mov mkv webm avi; do # the span at the end keeps the click
  $reelm sound tick.avi --span 1.75-1.9 --size 16x16 -s 1 -q --progress off -o t.$name || exit 98
  ffmpeg -v error -i t.$name -f s16le -ac 1 -ar 16000 - | python3 click.py || exit 97
  $reelm sound t.$name --span 1.75-1.9 --size 16x16 -s 1 -q --progress off -o again.avi || exit 96
  ffmpeg -v error -i again.avi -f s16le -ac 1 -ar 16000 - | python3 click.py || exit 95
done
