# stdout: *camera*镜头*
$reelm world --sheet -c 12 --size 32x32 --frames 4 -o sheet.png && [ -s sheet.png ]
