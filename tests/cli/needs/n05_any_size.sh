# Any frame count and size comes back exactly from the tokenizers.
for f in $(seq 40); do # through a pipe, all lengths to 40
  w=$((16 + f * 37 % 115)) h=$((16 + f * 53 % 115))
  ffmpeg -v error -f lavfi -i testsrc2=size=64x64:rate=8 -frames:v "$f" -vf "scale=$w:$h,setsar=1" -pix_fmt yuv444p -f yuv4mpegpipe - | $reelm encode - -o - |
    $reelm decode - -o - --format y4m >out.y4m || exit 95
  got=$(ffprobe -v error -count_frames -show_entries stream=width,height,nb_read_frames -of csv=p=0 out.y4m)
  test "$got" = "$w,$h,$f" || exit 94
done
for what in 1:16x16 2:17x33 3:130x19 5:31x64 8:47x47 13:18x22; do
  frames=${what%:*} size=${what#*:}
  ffmpeg -v error -f lavfi -i testsrc2=size=64x64:rate=8 -frames:v "$frames" -vf "scale=${size%x*}:${size#*x},setsar=1" -pix_fmt yuv444p -y in.y4m || exit 99
  $reelm encode in.y4m -o t.rtok -q && $reelm decode t.rtok -o out.y4m -q || exit 98
  got=$(ffprobe -v error -count_frames -show_entries stream=width,height,nb_read_frames -of csv=p=0 out.y4m)
  test "$got" = "${size%x*},${size#*x},$frames" || exit 97
done
$reelm generate --frames 2 --size 17x33 --no-audio -s 1 --json -o a.mp4 >a.json || exit 96
grep -q '"width":[[:space:]]*17' a.json && grep -q '"effective_width":[[:space:]]*17' a.json &&
  grep -q '"effective_frames":[[:space:]]*2' a.json
