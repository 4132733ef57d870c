# stdout: closer
# Codes that were searched decode closer to the clip and to its sound.
mkdir a b plain searched heard found
$reelm world -c 1 --format mkv -o made -q || exit 1
mv made/*.mkv a/clip.mkv && mv made/*.wav b/clip.wav || exit 1
$reelm encode a/clip.mkv -o plain.rtok -q && $reelm encode b/clip.wav -o heard.rtok -q || exit 1
$reelm encode a/clip.mkv -o searched.rtok --search 4 -q || exit 1
$reelm encode b/clip.wav -o found.rtok --search 4 -q || exit 1
# figure KIND ORIGINALS TOKENS EXTENSION MEASURE: of what the tokens decode to
figure() {
  $reelm decode $3.rtok -o $3/clip.$4 -q || exit 1
  $reelm eval $1 $2 --against $3 --json 2>/dev/null |
    sed -n "/\"mean\":/,/}/s/.*\"$5\":[^0-9]*\([0-9.]*\),/\1/p" | head -1
}
awk "BEGIN { exit !($(figure video a searched mkv psnr) > $(figure video a plain mkv psnr)) }" || exit 1
awk "BEGIN { exit !($(figure audio b found wav stft) < $(figure audio b heard wav stft)) }" && echo closer
