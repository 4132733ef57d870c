# stdout: same
# The settings of an edit make it again, but for the files it works on.
$reelm world --count 1 --size 32x32 --frames 1 --format png --no-truth -o w -q
$reelm edit w/*.png --mask-box 8,8,12,10 --mask-box 0,0,4,4 --source playground -s 5 -q --save-tokens a.rtok -o a.png
$reelm edit w/*.png --from-metadata a.png -q --save-tokens b.rtok -o b.png || exit 9
python3 - <<'P'
import subprocess
def rgb(name):
    return subprocess.run(['ffmpeg', '-v', 'error', '-i', name, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'],
                          capture_output=True).stdout
print('same' if rgb('a.png') == rgb('b.png') else 'differs')
P
