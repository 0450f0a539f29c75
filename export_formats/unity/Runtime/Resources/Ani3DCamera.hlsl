// A camera's numbers, in a buffer and not in material properties: what was given to the engine to draw may be drawn again
// when the scene view is painted once more, beside what is given to it then. Only the newest draws anything.
#ifndef ANI3D_CAMERA
#define ANI3D_CAMERA

StructuredBuffer<float4> CameraNumbers;
#define SplatPinhole CameraNumbers[0]         // fx, fy, cx, cy [px]
#define SplatOrthographic CameraNumbers[1].x  // 1, else 0
#define PictureDistance CameraNumbers[1].y    // of the picture's quad: any that the camera does not clip [m]
#define PictureRect CameraNumbers[2]          // of the quad: left, top, right, bottom [px]
#define PictureSize CameraNumbers[3]          // width, height [px], their inverses
float Serial;                                 // of what was given
#define IS_STALE (Serial != CameraNumbers[1].z)

#endif
