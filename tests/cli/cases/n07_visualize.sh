# stdout: good
# As long as the sound, which is the one that was given.
ffmpeg -v error -f lavfi -i sine=f=440:r=44100:d=2.5 -ac 2 in.wav
$reelm visualize in.wav --size 16x16 -s 1 -q -o out.avi || exit 9
frames=$(ffprobe -v error -select_streams v -count_frames -show_entries stream=nb_read_frames -of csv=p=0 out.avi)
rate=$(ffprobe -v error -select_streams a -show_entries stream=sample_rate,channels -of csv=p=0:s=x out.avi)
[ "$frames $rate" = "20 44100x2" ] && echo good || echo "$frames $rate"
