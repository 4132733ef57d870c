# Sound lasts as long as the picture at any frame rate, to a frame; pictures for a sound as long as it,
# which comes along unchanged.
for fps in 8 12 16 23.976 25 30 60; do
  ffmpeg -v error -f lavfi -i testsrc2=size=32x32:rate=$fps:duration=1.3 -y v.mp4 && $reelm sound v.mp4 --size 16x16 -s 1 -q --progress off -o a.avi || exit 99
  bytes=$(ffmpeg -v error -i a.avi -map 0:a -f s16le -ac 1 -ar 16000 - | wc -c)
  ffprobe -v error -select_streams v -show_entries stream=duration -of csv=p=0 a.avi |
    awk -v fps=$fps -v bytes="$bytes" '{ d = $1 - bytes / 32000 } END { exit !($1 > 1.2 && (d < 0 ? -d : d) <= 1 / fps) }' || exit 98
done
for fps in 8 23.976 60; do
  $reelm generate --frames 5 --fps $fps --size 32x32 -s 1 --json --progress off -o a.mkv >a.json || exit 97
  awk -F: -v fps=$fps '{ gsub(/[ \t",]/, "") } $1 == "audio_samples" { a = $2 } $1 == "effective_seconds" { v = $2 }
    END { d = a / 16000 - v; if (d < 0) d = -d; exit !(a > 0 && d <= 1 / fps + 1e-6) }' a.json || exit 96
done
ffmpeg -v error -f lavfi -i sine=440:sample_rate=44100:duration=1.6 -ac 2 -y song.wav && $reelm visualize song.wav --size 16x16 -s 1 -q --progress off -o b.avi || exit 95
test "$(ffprobe -v error -select_streams v -count_frames -show_entries stream=nb_read_frames -of csv=p=0 b.avi)" -eq 13 || exit 94
pcm() { ffmpeg -v error -i "$1" -map 0:a -f s16le -; } # 2 channels of 2 bytes, 1.6 s
pcm song.wav >a.raw && pcm b.avi >b.raw && cmp -n $((44100 * 4 * 16 / 10)) a.raw b.raw
