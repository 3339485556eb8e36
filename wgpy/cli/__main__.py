from wgpy.cli import main

main()
