# Sound lasts as long as the picture at any frame rate, to a frame.
for fps in 8 12 23.976 60; do
  $reelm generate --frames 5 --fps $fps --size 32x32 -s 1 --json --progress off -o a.mkv >a.json || exit 99
  awk -F: -v fps=$fps '{ gsub(/[ \t",]/, "") } $1 == "audio_samples" { a = $2 } $1 == "effective_seconds" { v = $2 }
    END { d = a / 16000 - v; if (d < 0) d = -d; exit !(a > 0 && d <= 1 / fps + 1e-6) }' a.json || exit 98
done
