// A camera's numbers, in a buffer and not in material properties: what was given to the engine to draw may be drawn again
// after the camera has moved (the scene view's, between two updates), and then finds the new ones.
#ifndef ANI3D_CAMERA
#define ANI3D_CAMERA

StructuredBuffer<float4> CameraNumbers;
#define SplatPinhole CameraNumbers[0]         // fx, fy, cx, cy [px]
#define SplatOrthographic CameraNumbers[1].x  // 1, else 0
#define PictureDistance CameraNumbers[1].y    // of the picture's quad: any that the camera does not clip [m]
#define PictureRect CameraNumbers[2]          // of the quad: left, top, right, bottom [px]
#define PictureSize CameraNumbers[3]          // width, height [px], their inverses

#endif
