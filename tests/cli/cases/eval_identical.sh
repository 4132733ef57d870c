# stdout: *"psnr":?100,*"ssim":?1,*"flicker":?0,*
$reelm world -s 3 -c 2 --size 64x48 --frames 4 --no-truth -o made -q || exit 1
$reelm eval video made/000003.mp4 --against made --native --json 2>/dev/null
