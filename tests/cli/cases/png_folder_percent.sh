# stderr: nothing
# stdout: x: lone 1 two 2 own 1*
# A % of a folder is no number's; one of a name that holds no number is a letter.
set -e
mkdir '100% mine' 'a%d'
$reelm generate --frames 5 --size 32x32 -s 5 -q --no-audio -p x -o '100% mine/%02d.png'
$reelm generate --size 32x32 -s 5 -q -p x -o '100% mine/50%.png'
$reelm generate --size 32x32 -s 5 -q -p x -o 'a%d/x.png'
echo "x: lone $(ls '100% mine' | grep -c '50%.png$') two $(ls '100% mine' | grep -c '^0[01].png$')" \
  "own $(ls a%d | grep -c '^x.png$')"
