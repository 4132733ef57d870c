# stdout: good
# Pictures as they came, at their own rate; sound exactly as long.
ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=24000/1001:d=1.3 -pix_fmt yuv420p in.mp4
$reelm sound in.mp4 -s 1 --json -o out.mp4 >out.json || exit 9
python3 - <<'P'
import json, subprocess
def frames(name):
    s = json.loads(subprocess.run(['ffprobe', '-v', 'error', '-count_frames', '-show_streams', '-of', 'json', name],
                                  capture_output=True).stdout)['streams']
    return [(x['width'], x['height'], x['r_frame_rate'], x['nb_read_frames']) for x in s if 'width' in x]
samples = json.load(open('out.json'))['audio_samples']
film = int(frames('in.mp4')[0][3]) * 1001 / 24000
good = frames('in.mp4') == frames('out.mp4') and abs(samples / 16000 - film) <= 1 / 16000
print('good' if good else (frames('in.mp4'), frames('out.mp4'), samples))
P
