# stdout: kept
# Pixels outside of the box come back bit for bit, those inside are made anew.
$reelm world --count 1 --size 32x32 --frames 1 --format png --no-truth -o w -q
$reelm edit w/*.png --mask-box 8,8,12,10 -s 1 -q -o out.png || exit 9
python3 - <<'P'
import glob, subprocess
def rgb(name):
    return subprocess.run(['ffmpeg', '-v', 'error', '-i', name, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'],
                          capture_output=True).stdout
a, b = rgb(glob.glob('w/*.png')[0]), rgb('out.png')
differs = [(i % 32, i // 32) for i in range(32 * 32) if a[3 * i:3 * i + 3] != b[3 * i:3 * i + 3]]
outside = [p for p in differs if not (8 <= p[0] < 20 and 8 <= p[1] < 18)]
print('kept' if differs and not outside and len(b) == 32 * 32 * 3 else (len(differs), len(outside)))
P
